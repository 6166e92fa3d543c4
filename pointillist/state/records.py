"""Folders of append-only files with one JSON record a line, each file written by one process.

A line is there whole or, after a crash or on a full disk, recognisably cut off: what is appended behind such a piece
begins a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

SUFFIX = ".jsonl"

_encode = json.JSONEncoder(separators=(",", ":")).encode


def file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder of records, sorted; none when the folder is not there."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records of some lines; one that a crash cut off, or that is no record, is skipped."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record


class Appender:
    """Appends records to a file, which is made with the first of them."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._handle: int | None = None
        self._is_cut = False
        """Whether the file ends in a piece of a line."""

    def append(self, record: dict[str, Any], *, durable: bool = False) -> None:
        """Append a record; with ``durable`` it is on the disk when this returns.

        Raises
        ------
        OSError
            When it can't be written, at least not whole. Later records can be read nevertheless.
        """
        if self._handle is None:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        line = _encode(record).encode() + b"\n"
        rest = b"\n" + line if self._is_cut else line
        while rest:  # one write, but where the disk is full
            written = os.write(self._handle, rest)
            rest = rest[written:]
            self._is_cut = bool(rest)
        if durable:
            os.fsync(self._handle)

    def close(self) -> bool:
        """Make sure that what was appended is on the disk; say whether there was anything."""
        if self._handle is None:
            return False
        handle, self._handle = self._handle, None
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return True


class Reading:
    """Reads a folder of records, and later what has come since.

    Parameters
    ----------
    folder
        The folder; it need not exist.
    writers
        Returns the names, without their ending, of files that may still grow.
    own
        The names of files not to read.
    """

    def __init__(self, folder: str, writers: Callable[[], Collection[str]], own: Collection[str]) -> None:
        self._folder = folder
        self._writers = writers
        self._own = own
        self._stamp: int | None = None
        """When the folder was last changed before all its files were known; None where that can't be relied on."""
        self._ends: dict[str, int] = {}
        """Where the whole lines that were read of each file end."""
        self._growing: list[str] = []

    def news(self, choose: Callable[[bytes], Iterable[bytes]] | None = None) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Yield the name of each file with something new in it, and the lines, which are to be used up at once.

        Parameters
        ----------
        choose
            Chooses among the lines of files that are new; by default all are taken.
        """
        stamp = self._changed()
        is_known = stamp is not None and stamp == self._stamp
        for name in list(self._growing):
            try:
                size = os.stat(os.path.join(self._folder, name)).st_size
            except FileNotFoundError:  # what it held stands elsewhere now
                self._growing.remove(name)
                is_known = False
                continue
            if size > self._ends[name]:
                yield from self._read(name, choose)
        while not is_known:
            stamp = self._changed()
            names = [name for name in file_names(self._folder) if name not in self._ends and name not in self._own]
            if names:
                self._ends |= dict.fromkeys(names, 0)
                writers = self._writers()
                files = self._growing + names
                self._growing = [name for name in files if name.removesuffix(SUFFIX) in writers]
                for name in files:
                    yield from self._read(name, choose)
            # Files are put together into others while we look, and a large folder is not listed in one step.
            is_known = not names and self._changed() == stamp
        self._stamp = stamp if stamp is not None and time.time_ns() - stamp > _tick_ns(stamp) else None

    def _read(
        self, name: str, choose: Callable[[bytes], Iterable[bytes]] | None
    ) -> Iterator[tuple[str, Iterable[bytes]]]:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self._folder, name), "rb") as file:
            file.seek(self._ends[name])
            if choose is None:
                yield name, self._lines(name, file)
            else:
                text = file.read()
                self._ends[name] += text.rfind(b"\n") + 1
                yield name, choose(text)

    def _lines(self, name: str, lines: Iterable[bytes]) -> Iterator[bytes]:
        end = self._ends[name]
        for line in lines:
            if line.endswith(b"\n"):
                end += len(line)
            yield line
        self._ends[name] = end

    def _changed(self) -> int | None:
        """Return when a file last came to the folder or went; None when it is not there."""
        try:
            return os.stat(self._folder).st_mtime_ns
        except FileNotFoundError:
            return None


def _tick_ns(stamp: int) -> int:
    """Return how long after a change of a folder another one may leave the same stamp."""
    # Stamps to the microsecond come from a clock that ticks every 10 ms at least, be it of another host with another
    # time; no file system's clock ticks more slowly than that of FAT (2 s).
    return 500_000_000 if stamp % 1_000_000 else 2_500_000_000
