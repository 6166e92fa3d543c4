"""Many small journal files into few: what ended sessions have written is gathered, so that readers open few files.

Each process that runs a task has a journal file of its own; a hundred thousand cluster jobs would leave as many files.
The files of sessions that have ended never change again. When there are many they are copied, line by line, into one
archive, which appears whole or not at all; then they are removed. Who is killed in between leaves lines that are there
twice, and a line read twice says the same. Archives are gathered in the same way when they are many.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable

from pointillist.state.records import SUFFIX, file_names

GATHER_FROM = 100
"""So many files of one kind are gathered."""

_PREFIX = "archive-"


def is_archive(name: str) -> bool:
    """Say whether a journal file holds what several sessions have written."""
    return name.startswith(_PREFIX)


def gather(path: str, is_alive: Callable[[str], bool]) -> None:
    """Gather the journal files of ended sessions, when there are many; do nothing where that can't be done.

    Parameters
    ----------
    path
        The folder with the journal files.
    is_alive
        Says of a session whether it may still write.
    """
    with contextlib.suppress(OSError):
        if max(map(len, _kinds(path))) < GATHER_FROM:
            return
        with open(os.path.join(path, "gathering"), "wb") as lock:
            # Whoever comes second leaves it to the first.
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in os.listdir(path):
                if is_archive(name) and name.endswith(".draft"):  # of one who was killed
                    os.unlink(os.path.join(path, name))
            archives, files = _kinds(path)
            ended = [name for name in files if not is_alive(name.removesuffix(SUFFIX))]
            for names in (archives, ended):
                if len(names) >= GATHER_FROM:
                    _gather(path, names)


def _kinds(path: str) -> tuple[list[str], list[str]]:
    """Return the names of archives and of the files of single sessions."""
    names = file_names(path)
    return [name for name in names if is_archive(name)], [name for name in names if not is_archive(name)]


def _gather(path: str, names: list[str]) -> None:
    draft = os.path.join(path, f"{_PREFIX}{os.urandom(8).hex()}.draft")
    try:
        with open(draft, "wb") as archive:
            for name in names:
                with open(os.path.join(path, name), "rb") as file:
                    content = file.read()
                archive.write(content)
                if content and not content.endswith(b"\n"):
                    archive.write(b"\n")  # a line that was cut off stays one by itself
            archive.flush()
            os.fsync(archive.fileno())
        os.rename(draft, draft.removesuffix(".draft") + SUFFIX)
    except OSError:
        os.unlink(draft)
        raise
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    for name in names:
        os.unlink(os.path.join(path, name))
