"""Hooks: functions of the user called when a task starts and when it ends.

``on_start``, ``on_success`` and ``on_exit`` are called with the operation's name and the task's jobs, ``on_exception``
with the operation's name, the error and the jobs. Hooks of the project come before those of the operation. What a hook
raises counts as a failure of the task.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Hook = Callable[..., Any]
EVENTS = ("on_start", "on_success", "on_exception", "on_exit")


class Hooks:
    """Four lists of hooks, to which anybody may append.

    Parameters
    ----------
    on_start, on_success, on_exception, on_exit
        Hooks to begin with.
    """

    def __init__(
        self,
        *,
        on_start: Iterable[Hook] = (),
        on_exit: Iterable[Hook] = (),
        on_success: Iterable[Hook] = (),
        on_exception: Iterable[Hook] = (),
    ) -> None:
        self.on_start = list(on_start)
        self.on_success = list(on_success)
        self.on_exception = list(on_exception)
        self.on_exit = list(on_exit)

    def update(self, other: Hooks) -> None:
        """Take over the hooks of another project, after those that are here."""
        for event in EVENTS:
            getattr(self, event).extend(getattr(other, event))


class HookChain:
    """The hooks that concern one operation, from several places, in the order they are called."""

    def __init__(self, parts: Iterable[Hooks] = ()) -> None:
        self._parts = tuple(parts)

    def __bool__(self) -> bool:
        return any(getattr(part, event) for part in self._parts for event in EVENTS)

    def of(self, event: str) -> list[Hook]:
        """Return the hooks of one event."""
        return [hook for part in self._parts for hook in getattr(part, event)]

    def start(self, operation: str, *jobs: Any) -> None:
        """Call the hooks of a start."""
        for hook in self.of("on_start"):
            hook(operation, *jobs)

    def end(self, operation: str, error: BaseException | None, *jobs: Any) -> None:
        """Call the hooks of an end: a good one, or one by ``error``."""
        try:
            if error is None:
                for hook in self.of("on_success"):
                    hook(operation, *jobs)
            else:
                for hook in self.of("on_exception"):
                    hook(operation, error, *jobs)
        finally:
            for hook in self.of("on_exit"):
                hook(operation, *jobs)

    @contextlib.contextmanager
    def around(self, operation: str, *jobs: Any) -> Iterator[None]:
        """Call the hooks before and after the body."""
        self.start(operation, *jobs)
        try:
            yield
        except BaseException as error:
            self.end(operation, error, *jobs)
            raise
        self.end(operation, None, *jobs)
