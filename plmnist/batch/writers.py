"""Threads that write results while a stack is trained on, because most of writing is waiting for the disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ["Writers"]

THREADS = 16
"""More than there are cores: flushes of several files at once cost the disk little more than one."""


class Writers:
    """Does what it is given by several threads, and waits at its end until everything is done.

    No more than a few dozen things wait at a time, because each holds a network. What one of them raises is raised at
    the end, when all others are done.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(THREADS, "writer")
        self._room = threading.Semaphore(4 * THREADS)
        self._written: list[Future[None]] = []

    def __enter__(self) -> Writers:
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        for written in self._written:
            written.result()

    def add(self, write: Callable[[], None]) -> None:
        """Have something written, as soon as there is room."""
        self._room.acquire()
        written = self._pool.submit(write)
        written.add_done_callback(lambda _: self._room.release())
        self._written.append(written)
