"""The journal: what was attempted, when, by whom, and how it ended.

Each process that runs tasks appends JSON lines to a file of its own; readers merge them. A line cut off by a crash is
skipped. The journal adds what conditions can't know and is never asked whether a task is complete: deleting it loses
history, not results.

Every line has ``event`` (``start``, ``end``, ``usage`` or ``withdrawn``) and ``time`` (seconds since 1970, UTC). All
but a usage have the ``attempt``. A start also has ``operation``, ``aggregate``, ``log`` (relative to the project),
``host``, ``pid``, for a batch the ``batch`` it belongs to, and on a cluster the ``cluster_job`` it was made in; an end
has ``outcome``, ``exit_code``, ``message``, of a failure the ``fingerprint`` of its inputs, ``cpu_s`` and
``peak_memory_bytes``, and ``began`` when the attempt waited for another after its start was recorded. For a batch the
usage comes on a line of its own, with the ``attempts`` it is for. What was withdrawn never began.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pointillist.state.archive import gather, is_archive
from pointillist.state.place import Place
from pointillist.state.records import SUFFIX, file_names, records
from pointillist.state.sessions import Session, Sessions

_encode = json.JSONEncoder(separators=(",", ":")).encode
_ATTEMPT = re.compile(rb'"attempt": ?("[^"]*")')


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    """The post-conditions hold."""
    ENDED = "ended"
    """It ended well; there are no post-conditions, or they do not hold yet."""
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """It was stopped from outside, or the process that ran it vanished."""


class Usage(NamedTuple):
    """What processes have used: processor time in seconds, and the largest memory any of them had."""

    cpu_s: float
    peak_memory_bytes: int


@dataclass(slots=True)
class Attempt:
    """One execution of a task."""

    id: str
    operation: str
    aggregate_id: str
    session: str
    started: float
    log: str
    host: str
    pid: int
    batch: str | None = None
    ended: float | None = None
    outcome: Outcome | None = None
    """None while it runs, and when the process that ran it vanished."""
    exit_code: int | None = None
    message: str = ""
    fingerprint: str = ""
    cpu_s: float | None = None
    """Processor time; of a batch an equal share of what its process took."""
    peak_memory_bytes: int | None = None
    """The most memory its process had; of a batch that of the whole batch."""
    cluster_job: Place | None = None
    """The cluster job it was made in; None outside of one."""

    def as_json(self) -> dict[str, Any]:
        """Return the attempt as plain data."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"cluster_job": self.cluster_job.as_json() if self.cluster_job else None}


class Journal:
    """All attempts that were ever recorded in a project, merged.

    Parameters
    ----------
    path
        The folder with the journal files; it need not exist.
    only
        Read the attempts at these aggregates only. Lines about others are passed over without being decoded.
    """

    def __init__(self, path: str, *, only: Iterable[str] | None = None) -> None:
        self.path = path
        chosen = None if only is None else frozenset(only)
        # For more than a few, looking for each costs more than decoding every line.
        self._only = None if chosen is None or len(chosen) > 20 else chosen
        self._attempts: dict[str, Attempt] | None = None
        self._own: dict[str, Attempt] = {}
        """The attempts that this process has recorded itself; it need not read them."""
        self._last: dict[tuple[str, str], Attempt] = {}

    def attempts(self) -> list[Attempt]:
        """Return all attempts in the order they started."""
        return sorted(self._read().values(), key=_order)

    def last(self, operation: str, aggregate_id: str) -> Attempt | None:
        """Return the last attempt at a task."""
        self._read()
        return self._last.get((operation, aggregate_id))

    def attempts_at(self, operation: str, aggregate_id: str) -> list[Attempt]:
        """Return the attempts at one task in the order they started."""
        return [one for one in self.attempts() if (one.operation, one.aggregate_id) == (operation, aggregate_id)]

    def failed(self) -> list[tuple[str, str]]:
        """Return the operation and aggregate id of each task whose last attempt failed."""
        self._read()
        return [key for key, attempt in self._last.items() if attempt.outcome is Outcome.FAILED]

    def forget(self) -> None:
        """Read the files anew at the next question."""
        self._attempts = None

    def add(self, attempt: Attempt) -> None:
        """Take note of an attempt this process has just recorded itself."""
        self._own[attempt.id] = attempt
        if self._attempts is None:
            return  # nobody has asked for the others yet
        self._attempts[attempt.id] = attempt
        self._last[attempt.operation, attempt.aggregate_id] = attempt

    def remove(self, attempt: Attempt) -> None:
        """Take note that an attempt this process has recorded never began."""
        self._own.pop(attempt.id, None)
        if self._attempts is not None and self._attempts.pop(attempt.id, None) is not None:
            key = attempt.operation, attempt.aggregate_id
            self._last.pop(key, None)
            earlier = [a for a in self._attempts.values() if (a.operation, a.aggregate_id) == key]
            if earlier:
                self._last[key] = max(earlier, key=_order)

    def _read(self) -> dict[str, Attempt]:
        while self._attempts is None:
            self._attempts = dict(self._own)
            try:
                for session, record in self._records():
                    self._take(session, record)
            except FileNotFoundError:
                self._attempts = None  # gathered into an archive between our look at the folder and at the file
                continue
            self._last = {}
            for attempt in self.attempts():
                self._last[attempt.operation, attempt.aggregate_id] = attempt
        return self._attempts

    def _records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        ours = {f"{attempt.session}{SUFFIX}" for attempt in self._own.values()}
        for name in file_names(self.path):
            if name in ours:
                continue
            with open(os.path.join(self.path, name), "rb") as file:
                for record in records(file if self._only is None else self._concerned(file.read())):
                    yield _session_of(record) if is_archive(name) else name.removesuffix(SUFFIX), record

    def _concerned(self, text: bytes) -> list[bytes]:
        """Return the lines that may be about the aggregates of interest: some too many, none too few."""
        about = _lines_with(text, [i.encode() for i in self._only or ()])
        # The end of an attempt names the attempt only.
        attempts = {found[1] for start, end in about if (found := _ATTEMPT.search(text, start, end))}
        return [text[start:end] for start, end in sorted({*about, *_lines_with(text, attempts)})]

    def _take(self, session: str, record: dict[str, Any]) -> None:
        assert self._attempts is not None
        try:
            if record["event"] == "start":
                self._attempts[record["attempt"]] = Attempt(
                    record["attempt"],
                    record["operation"],
                    record["aggregate"],
                    session,
                    record["time"],
                    record["log"],
                    record["host"],
                    record["pid"],
                    record.get("batch"),
                    cluster_job=Place.of(record.get("cluster_job")),
                )
            elif record["event"] == "end" and record["attempt"] in self._attempts:
                attempt = self._attempts[record["attempt"]]
                attempt.started = record.get("began", attempt.started)
                attempt.ended = record["time"]
                attempt.outcome = Outcome(record["outcome"])
                attempt.exit_code = record.get("exit_code")
                attempt.message = record.get("message", "")
                attempt.fingerprint = record.get("fingerprint", "")
                attempt.cpu_s = record.get("cpu_s", attempt.cpu_s)
                attempt.peak_memory_bytes = record.get("peak_memory_bytes", attempt.peak_memory_bytes)
            elif record["event"] == "withdrawn":
                self._attempts.pop(record["attempt"], None)
            elif record["event"] == "usage":
                for attempt_id in record["attempts"]:
                    if attempt_id in self._attempts:
                        self._attempts[attempt_id].cpu_s = record["cpu_s"]
                        self._attempts[attempt_id].peak_memory_bytes = record["peak_memory_bytes"]
        except (KeyError, ValueError):
            return  # a line of a later version, or damaged: the conditions still tell the truth


class JournalWriter:
    """Appends the attempts of one session to its own journal file, made with the first of them."""

    def __init__(self, journal: Journal, session: Session) -> None:
        self._journal = journal
        self._session = session
        self._place = session.place
        self._handle: int | None = None
        self._count = 0

    def start(self, operation: str, aggregate_id: str, *, log: str, batch: str | None = None) -> Attempt:
        """Record that an attempt starts."""
        self._count += 1
        attempt = Attempt(
            f"{self._session.id}-{self._count}",
            operation,
            aggregate_id,
            self._session.id,
            time.time(),
            log,
            self._session.host,
            os.getpid(),
            batch,
            cluster_job=self._place,
        )
        record: dict[str, Any] = {
            "event": "start",
            "attempt": attempt.id,
            "time": attempt.started,
            "operation": operation,
            "aggregate": aggregate_id,
            "log": log,
            "host": attempt.host,
            "pid": attempt.pid,
        }
        if batch:
            record["batch"] = batch
        if self._place is not None:
            record["cluster_job"] = self._place.as_json()
        self._append(record)
        self._journal.add(attempt)
        return attempt

    def end(
        self,
        attempt: Attempt,
        outcome: Outcome,
        *,
        exit_code: int | None = None,
        message: str = "",
        fingerprint: str = "",
        usage: Usage | None = None,
        began: float | None = None,
    ) -> None:
        """Record how an attempt ended, and when it really began, if that was later than its start was recorded."""
        attempt.ended, attempt.outcome = time.time(), outcome
        attempt.exit_code, attempt.message, attempt.fingerprint = exit_code, message, fingerprint
        record: dict[str, Any] = {
            "event": "end",
            "attempt": attempt.id,
            "time": attempt.ended,
            "outcome": outcome,
            "exit_code": exit_code,
        }
        if began is not None:
            attempt.started = record["began"] = round(began, 6)
        if message:
            record["message"] = message
        if fingerprint:
            record["fingerprint"] = fingerprint
        if usage is not None:
            attempt.cpu_s, attempt.peak_memory_bytes = usage
            record |= {"cpu_s": round(usage.cpu_s, 4), "peak_memory_bytes": usage.peak_memory_bytes}
        self._append(record)
        self._journal.add(attempt)

    def withdraw(self, attempt: Attempt) -> None:
        """Record that an attempt whose start was recorded never began, and never will."""
        self._append({"event": "withdrawn", "attempt": attempt.id, "time": time.time()})
        self._journal.remove(attempt)

    def use(self, attempts: Sequence[Attempt], usage: Usage) -> None:
        """Record what the process of a batch has used, once it is known."""
        cpu_s = round(usage.cpu_s / len(attempts), 4)
        for attempt in attempts:
            attempt.cpu_s, attempt.peak_memory_bytes = cpu_s, usage.peak_memory_bytes
        record = {"event": "usage", "time": time.time(), "attempts": [attempt.id for attempt in attempts]}
        self._append(record | {"cpu_s": cpu_s, "peak_memory_bytes": usage.peak_memory_bytes})

    def close(self) -> None:
        """Make sure that what was recorded is on the disk."""
        if self._handle is not None:
            os.fsync(self._handle)
            os.close(self._handle)
            self._handle = None
            gather(self._journal.path, Sessions(os.path.dirname(self._journal.path)).is_alive)

    def _append(self, record: dict[str, Any]) -> None:
        if self._handle is None:
            os.makedirs(self._journal.path, exist_ok=True)
            path = os.path.join(self._journal.path, f"{self._session.id}.jsonl")
            self._handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        # One write a line: a line is there whole or, after a crash, recognisably cut off.
        os.write(self._handle, _encode(record).encode() + b"\n")


def _order(attempt: Attempt) -> tuple[float, str]:
    return attempt.started, attempt.id


def _session_of(record: dict[str, Any]) -> str:
    """Return the session that wrote a line, which begins the name of its attempt."""
    return str(record.get("attempt", "")).rpartition("-")[0]


def _lines_with(text: bytes, words: Iterable[bytes]) -> set[tuple[int, int]]:
    """Return start and end of each line that holds one of the words."""
    found = set()
    for word in words:
        at = text.find(word)
        while at >= 0:
            end = text.find(b"\n", at) + 1 or len(text)
            found.add((text.rfind(b"\n", 0, at) + 1, end))
            at = text.find(word, end)
    return found
