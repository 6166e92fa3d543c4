"""The journal: what was attempted, when, by whom, and how it ended.

Each process that runs tasks appends JSON lines to a file of its own; readers merge them. A line cut off by a crash is
skipped. The journal adds what conditions can't know and is never asked whether a task is complete: deleting it loses
history, not results.

Every line has ``event`` (``start``, ``end``, ``usage`` or ``withdrawn``) and ``time`` (seconds since 1970, UTC). All
but a usage have the ``attempt``. A start also has ``operation``, ``aggregate``, ``log`` (relative to the project),
``host``, ``pid``, its ``number`` when others at the task were known, the ``inode`` of its job's folder, for a batch the
``batch`` it belongs to, and on a cluster the ``cluster_job`` it was made in; an end has ``outcome``, ``exit_code``,
``message``, of a failure the ``fingerprint`` of its inputs, ``cpu_s`` and ``peak_memory_bytes``, ``began`` when the
attempt waited for another after its start was recorded, and ``aggregate`` when that has got another id from the
attempt. For a batch the usage comes on a line of its own, with the ``attempts`` it is for. What was withdrawn never
began.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pointillist.errors import PointillistError
from pointillist.state.archive import gather, is_archive
from pointillist.state.place import Place
from pointillist.state.records import SUFFIX, Appender, Reading
from pointillist.state.sessions import Session, Sessions
from pointillist.state.tasks import TaskKey

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
    number: int = 1
    """How many attempts at the task were known when it started, this one included: clocks may be set back."""
    inode: int = 0
    """The number of its job's folder, by which it is found again under another name; 0 where it is not known."""

    @property
    def key(self) -> TaskKey:
        """The task it was made at."""
        return self.operation, self.aggregate_id

    @property
    def rank(self) -> tuple[int, float, str]:
        """By what the attempts at one task are put in order, the last of them last; not by the clock alone."""
        return self.number, self.started, self.id

    def as_json(self) -> dict[str, Any]:
        """Return the attempt as plain data."""
        values = {name: getattr(self, name) for name in self.__slots__ if name != "inode"}
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
        self._own_files: set[str] = set()
        """The files that this process writes itself; it need not read them."""
        self._reading = Reading(path, self._writers, self._own_files)
        self._attempts: dict[str, Attempt] = {}
        self._last: dict[TaskKey, Attempt] = {}
        self._is_read = False
        self.ended_elsewhere: Counter[TaskKey] = Counter()
        """How often other processes have ended each task since this one began to read, unless they were stopped."""
        self._damaged: list[tuple[str, str]] = []
        """Lines that can't be understood though they were not cut off, each with its file."""

    @property
    def is_whole(self) -> bool:
        """Whether it knows the attempts at all tasks."""
        return self._only is None

    def attempts(self) -> list[Attempt]:
        """Return all attempts in the order they started."""
        return sorted(self._read().values(), key=lambda attempt: (attempt.started, attempt.id))

    def last(self, operation: str, aggregate_id: str) -> Attempt | None:
        """Return the last attempt at a task."""
        self._read()
        return self._last.get((operation, aggregate_id))

    def attempts_at(self, operation: str, aggregate_id: str) -> list[Attempt]:
        """Return the attempts at one task in the order they started."""
        key = operation, aggregate_id
        return sorted((one for one in self._read().values() if one.key == key), key=lambda one: one.rank)

    def failed(self) -> list[TaskKey]:
        """Return the operation and aggregate id of each task whose last attempt failed."""
        self._read()
        return [key for key, attempt in self._last.items() if attempt.outcome is Outcome.FAILED]

    def catch_up(self) -> None:
        """Take note of what others have recorded since the journal was read; cheap when there is nothing."""
        if self._is_read:
            self._read_on(None)

    def add(self, attempt: Attempt) -> None:
        """Take note of an attempt this process has just recorded itself."""
        self._own_files.add(f"{attempt.session}{SUFFIX}")
        self._attempts[attempt.id] = attempt
        self._last[attempt.key] = attempt

    def remove(self, attempts: Iterable[Attempt]) -> None:
        """Take note that attempts this process has recorded never began; all at once, because it looks through all."""
        self._drop(attempt.id for attempt in attempts)

    def move(self, attempt: Attempt, aggregate_id: str) -> None:
        """Take note that the aggregate of an attempt has another id now."""
        if self._last.get(attempt.key) is attempt:
            del self._last[attempt.key]
        attempt.aggregate_id = aggregate_id

    def trouble(self) -> PointillistError | None:
        """Return what there is to say of lines that can't be understood; a line that a crash cut off is none."""
        if not self._damaged:
            return None
        name, line = self._damaged[0]
        start = line if len(line) <= 60 else f"{line[:60]}..."
        more = f" (and {len(self._damaged) - 1} more)" if len(self._damaged) > 1 else ""
        return PointillistError(
            f"Passed over in the journal, because it is no record of an attempt: {start}{more}",
            hint=f"It is in {os.path.join(self.path, name)}. No result depends on it, and it can be deleted.",
        )

    def _read(self) -> dict[str, Attempt]:
        if not self._is_read:
            self._read_on(self._concerned if self._only is not None else None)
            self._is_read = True
        return self._attempts

    def _read_on(self, choose: Callable[[bytes], Iterable[bytes]] | None) -> None:
        withdrawn: list[str] = []
        for name, lines in self._reading.news(choose):
            session = None if is_archive(name) else name.removesuffix(SUFFIX)
            for line in lines:
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    continue  # cut off by a crash
                try:
                    if record["event"] == "withdrawn":
                        withdrawn.append(str(record["attempt"]))
                    else:
                        self._take(session, record)
                except (KeyError, TypeError, ValueError):
                    # The conditions still tell the truth.
                    self._damaged.append((name, line.decode(errors="replace").strip()))
        if withdrawn:
            self._drop(withdrawn)

    def _writers(self) -> Collection[str]:
        return Sessions(os.path.dirname(self.path)).names()

    def _concerned(self, text: bytes) -> list[bytes]:
        """Return the lines that may be about the aggregates of interest: some too many, none too few."""
        about = _lines_with(text, [i.encode() for i in self._only or ()])
        # The end of an attempt names the attempt only.
        attempts = {found[1] for start, end in about if (found := _ATTEMPT.search(text, start, end))}
        return [text[start:end] for start, end in sorted({*about, *_lines_with(text, attempts)})]

    def _take(self, session: str | None, record: dict[str, Any]) -> None:
        event = record["event"]
        if event == "start":
            attempt_id, operation, aggregate_id = record["attempt"], record["operation"], record["aggregate"]
            log, host, batch, pid = record["log"], record["host"], record.get("batch"), record["pid"]
            number, inode = record.get("number", 1), record.get("inode", 0)
            _check(
                times=(record["time"],),
                numbers=(pid, number, inode),
                texts=(attempt_id, operation, aggregate_id, log, host, batch or ""),
            )
            if attempt_id in self._attempts:
                return  # gathered into an archive since it was read
            place = Place.of(record["cluster_job"]) if "cluster_job" in record else None
            writer = attempt_id.rpartition("-")[0] if session is None else session
            self._attempts[attempt_id] = attempt = Attempt(
                attempt_id, operation, aggregate_id, writer, record["time"], log, host, pid, batch
            )
            attempt.cluster_job, attempt.number, attempt.inode = place, number, inode
            self._note_last(attempt)
        elif event == "end" and record["attempt"] in self._attempts:
            self._take_end(self._attempts[record["attempt"]], record)
        elif event == "usage":
            cpu_s, peak_memory_bytes = record["cpu_s"], record["peak_memory_bytes"]
            _check(times=(), numbers=(cpu_s, peak_memory_bytes), texts=record["attempts"])
            for attempt_id in record["attempts"]:
                if attempt_id in self._attempts:
                    self._attempts[attempt_id].cpu_s = cpu_s
                    self._attempts[attempt_id].peak_memory_bytes = peak_memory_bytes

    def _take_end(self, attempt: Attempt, record: dict[str, Any]) -> None:
        get = record.get
        outcome, ended, began = Outcome(record["outcome"]), record["time"], get("began", attempt.started)
        exit_code, message, fingerprint = get("exit_code"), get("message", ""), get("fingerprint", "")
        cpu_s, memory_bytes = get("cpu_s", attempt.cpu_s), get("peak_memory_bytes", attempt.peak_memory_bytes)
        aggregate_id = get("aggregate", attempt.aggregate_id)
        texts = message, fingerprint, aggregate_id
        _check(times=(ended, began), numbers=(exit_code, cpu_s, memory_bytes), texts=texts)
        if aggregate_id != attempt.aggregate_id:
            self.move(attempt, aggregate_id)
        if self._is_read and attempt.outcome is None and outcome is not Outcome.INTERRUPTED:
            self.ended_elsewhere[attempt.key] += 1
        attempt.started, attempt.ended, attempt.outcome = began, ended, outcome
        attempt.exit_code, attempt.message, attempt.fingerprint = exit_code, message, fingerprint
        attempt.cpu_s, attempt.peak_memory_bytes = cpu_s, memory_bytes
        if "began" in record or "aggregate" in record:
            self._note_last(attempt)

    def _note_last(self, attempt: Attempt) -> None:
        last = self._last.get(attempt.key)
        if last is None or last.rank <= attempt.rank:
            self._last[attempt.key] = attempt

    def _drop(self, attempt_ids: Iterable[str]) -> None:
        """Forget attempts that never began."""
        stale = set()
        for attempt_id in attempt_ids:
            attempt = self._attempts.pop(attempt_id, None)
            if attempt is not None and self._last.get(attempt.key) is attempt:
                del self._last[attempt.key]
                stale.add(attempt.key)
        if stale:
            for attempt in self._attempts.values():
                if attempt.key in stale:
                    self._note_last(attempt)


class JournalWriter:
    """Appends the attempts of one session to its own journal file, made with the first of them."""

    def __init__(self, journal: Journal, session: Session) -> None:
        self._journal = journal
        self._session = session
        self._place = session.place
        self._file = Appender(os.path.join(journal.path, f"{session.id}{SUFFIX}"))
        self._count = 0

    def start(
        self, operation: str, aggregate_id: str, *, log: str, batch: str | None = None, inode: int = 0
    ) -> Attempt:
        """Record that an attempt starts; ``inode`` is the number of its job's folder, where it has one job."""
        self._count += 1
        last = self._journal.last(operation, aggregate_id)
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
            number=1 if last is None else last.number + 1,
            inode=inode,
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
        if attempt.number > 1:
            record["number"] = attempt.number
        if inode:
            record["inode"] = inode
        if self._place is not None:
            record["cluster_job"] = self._place.as_json()
        self._file.append(record)
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
        aggregate_id: str | None = None,
    ) -> None:
        """Record how an attempt ended.

        Parameters
        ----------
        began
            When it really began, if that was later than its start was recorded.
        aggregate_id
            The id that the aggregate has now, because the attempt has changed the state point of a job.
        """
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
        if aggregate_id is not None and aggregate_id != attempt.aggregate_id:
            record["aggregate"] = aggregate_id
            self._journal.move(attempt, aggregate_id)
        self._file.append(record)
        self._journal.add(attempt)

    def withdraw(self, attempts: Sequence[Attempt]) -> None:
        """Record that attempts whose start was recorded never began, and never will."""
        for attempt in attempts:
            self._file.append({"event": "withdrawn", "attempt": attempt.id, "time": time.time()})
        self._journal.remove(attempts)

    def use(self, attempts: Sequence[Attempt], usage: Usage) -> None:
        """Record what the process of a batch has used, once it is known."""
        cpu_s = round(usage.cpu_s / len(attempts), 4)
        for attempt in attempts:
            attempt.cpu_s, attempt.peak_memory_bytes = cpu_s, usage.peak_memory_bytes
        record = {"event": "usage", "time": time.time(), "attempts": [attempt.id for attempt in attempts]}
        self._file.append(record | {"cpu_s": cpu_s, "peak_memory_bytes": usage.peak_memory_bytes})

    def close(self) -> None:
        """Make sure that what was recorded is on the disk."""
        if self._file.close():
            gather(self._journal.path, Sessions(os.path.dirname(self._journal.path)).is_alive)


def _check(*, times: Iterable[float], numbers: Iterable[float | None], texts: Iterable[str]) -> None:
    """Raise TypeError or ValueError unless everything is what it should be."""
    "".join(texts)
    for time_s in times:
        if not 0 <= time_s < 1e11:  # what comes later no calendar can show
            raise ValueError
    for number in numbers:
        if number is not None and not -1e15 < number < 1e15:
            raise ValueError


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
