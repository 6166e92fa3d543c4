"""Work on many jobs shared out over the cores of this machine, by forked copies of this process.

Reading a hundred thousand folders is system calls and JSON, one after the other; a copy has everything this process
knows, so a slice costs a fork and no message. Whatever goes wrong in a copy, its slice is done here once more: callers
get a result or the error they would have got without copies.
"""

from __future__ import annotations

import contextlib
import marshal
import mmap
import os
import signal
import threading
import warnings
from collections.abc import Callable
from typing import Any

SMALLEST_SLICE = 2000
"""Fewer jobs are not worth a fork."""

MOST_SLICES = 8


def count_cores() -> int:
    """Return the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def shared_bytes(length: int) -> memoryview:
    """Return zeroed memory that forked copies write to for this process to see."""
    return memoryview(mmap.mmap(-1, length)) if length else memoryview(bytearray())


def in_slices(count: int, work: Callable[[int, int], Any]) -> list[Any]:
    """Call ``work(begin, end)`` for slices that make up ``range(count)``; return the results in order.

    Parameters
    ----------
    count
        How many things there are.
    work
        Its result must be plain data. It may be called twice for a slice, so it must not matter whether it was.
    """
    bounds = _bounds(count)
    children = [_fork(work, begin, end) for begin, end in bounds[1:]]
    try:
        results = [work(*bounds[0])]
        for number, (begin, end) in enumerate(bounds[1:]):
            answer = _collect(*children[number])
            children[number] = (0, -1)
            results.append(work(begin, end) if answer is None else marshal.loads(answer)[0])
        return results
    finally:
        for pid, handle in children:
            if pid:
                with contextlib.suppress(OSError):  # read to its end, perhaps
                    os.close(handle)
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _bounds(count: int) -> list[tuple[int, int]]:
    slices = 1
    # Other threads may hold locks that their copies would wait for in vain.
    if hasattr(os, "fork") and threading.active_count() == 1:
        slices = max(1, min(count_cores(), MOST_SLICES, count // SMALLEST_SLICE))
    return [(count * number // slices, count * (number + 1) // slices) for number in range(slices)]


def _fork(work: Callable[[int, int], Any], begin: int, end: int) -> tuple[int, int]:
    """Start a copy that works on a slice; return its id and where its answer comes. The id is 0 when there is none."""
    ours, theirs = os.pipe()
    pid = -1
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        return 0, -1
    finally:
        if pid:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    if pid:
        os.close(theirs)
        return pid, ours
    code = 1
    try:
        # The parent's handlers are about the parent's work.
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        answer = memoryview(marshal.dumps([work(begin, end)]))
        while answer:
            answer = answer[os.write(theirs, answer) :]
        code = 0
    finally:
        os._exit(code)


def _collect(pid: int, handle: int) -> bytes | None:
    """Return what a copy answered; None when it did not work out."""
    if not pid:
        return None
    with open(handle, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    return answer if status == 0 and answer else None
