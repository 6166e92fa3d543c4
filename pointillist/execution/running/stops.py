"""Signals that arrive while a run goes on: the wish of the user to stop, and the warning of a scheduler."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal as signals
import threading
from collections.abc import Iterator
from typing import Any

from pointillist.execution.requeues import WARNING


class Stops:
    """Counts how often the user has asked to stop, and how often the scheduler has warned.

    A signal is only noted where it arrives: a process that is being started at that moment must hear of it, too.
    """

    def __init__(self) -> None:
        self.count = 0
        self.signal: int = signals.SIGINT
        """The last signal that came."""
        self.warnings = 0
        """How often the scheduler has said that the time of the cluster job is nearly up."""
        self._told = 0
        self._wakeup: int | None = None

    def news(self) -> Iterator[bool]:
        """Yield, for each wish that nobody was told of, whether it was repeated."""
        while self._told < self.count:
            self._told += 1
            yield self._told > 1

    def calm(self) -> None:
        """Make a selector that was woken by a signal wait again."""
        if self._wakeup is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)

    @contextlib.contextmanager
    def noted(self, selector: selectors.BaseSelector) -> Iterator[None]:
        """Turn signals into wishes, and wake a selector; in the main thread of a program only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        selector.register(self._wakeup, selectors.EVENT_READ)
        previous_fd = signals.set_wakeup_fd(write, warn_on_full_buffer=False)
        previous = {n: signals.signal(n, self._note) for n in (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)}
        previous[WARNING] = signals.signal(WARNING, self._note_warning)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signals.signal(number, handler)
            signals.set_wakeup_fd(previous_fd)
            os.close(self._wakeup)
            os.close(write)
            self._wakeup = None

    def _note(self, number: int, _frame: Any) -> None:
        self.count += 1
        self.signal = number

    def _note_warning(self, _number: int, _frame: Any) -> None:
        self.warnings += 1
