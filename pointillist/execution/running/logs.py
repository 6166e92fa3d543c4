"""The logs of a run: a file for each attempt, never one that is there already; what stays empty is not kept.

Making a file, and taking it away again, costs a file system more than many a brief task. So the file of an attempt that
has printed nothing becomes that of a later one, provided nobody else has it open: whatever the first one has left
behind could still print.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import signal as signals
from urllib.parse import quote

MOST_SPARE = 64
"""So many empty files are kept for later, each of them open."""


class Logs:
    """Makes logs and takes the empty ones away.

    Parameters
    ----------
    path
        The folder of all logs; it need not exist. Each operation has a folder in it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._spare: list[tuple[str, int]] = []

    def open(self, operation: str, name: str) -> tuple[str, int]:
        """Make a log and return its path and an open file; the first attempt's has a plain name, others a number."""
        folder = os.path.join(self._path, quote(operation, safe=""))
        for number in itertools.count(1):
            path = os.path.join(folder, f"{name}.log" if number == 1 else f"{name}.{number}.log")
            try:
                return path, self._make(path)
            except FileExistsError:
                continue
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                return self.open(operation, name)
        raise AssertionError("there is always a next number")

    def close(self, path: str, handle: int) -> None:
        """Let go of a log whose attempt has ended."""
        if os.fstat(handle).st_size == 0:
            if len(self._spare) < MOST_SPARE and _is_ours_alone(handle):
                self._spare.append((path, handle))
                return
            _remove(path)
        os.close(handle)

    def close_all(self) -> None:
        """Take away the empty files that were kept for later."""
        while self._spare:
            path, handle = self._spare.pop()
            _remove(path)
            os.close(handle)

    def _make(self, path: str) -> int:
        while self._spare:
            old, handle = self._spare.pop()
            try:
                os.link(old, path)
            except FileExistsError:
                self._spare.append((old, handle))
                raise
            except OSError:  # it was taken away, or this file system has no such links
                _remove(old)
                os.close(handle)
            else:
                _remove(old)
                return handle
        return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _is_ours_alone(handle: int) -> bool:
    """Say whether nobody else has opened a file; False where the system can't tell.

    Linux grants a lease for writing only then. Who opens the file while we have it waits until it is given back, and
    the signal that asks for it back is one that nobody minds.
    """
    if not hasattr(fcntl, "F_SETLEASE"):
        return False
    try:
        fcntl.fcntl(handle, fcntl.F_SETSIG, signals.SIGURG)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    return True
