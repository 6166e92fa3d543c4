"""The ledger: what was handed to which scheduler, and what became of it.

Each process that submits, cancels or learns how cluster jobs ended appends JSON lines to a file of its own; readers
merge them. A submission is one cluster job or one array. Its intent is on disk before the scheduler is asked, under a
name that no other submission has, and its id as soon as it is known: after a crash in between it is found by its name.

Every line has ``event`` and ``submission`` (the name). ``intent`` says all about it, ``accepted`` its ``id``,
``withdrawn`` that there is no such cluster job, and ``ended`` what became of one element (``index``, None for a single
cluster job), with the tasks that it failed. Knows no scheduler: states and reasons are words here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pointillist.state.journal import Attempt, Outcome
from pointillist.state.records import SUFFIX, Appender, file_names, records
from pointillist.state.sessions import Session
from pointillist.state.tasks import TaskKey


class Presence(StrEnum):
    """What a task on the cluster is doing, as far as it is known."""

    QUEUED = "queued"
    RUNNING = "running"
    UNKNOWN = "unknown"
    """The scheduler could not be asked, or does not say: it may be queued or running."""


@dataclass(slots=True)
class Ending:
    """What became of one element."""

    state: str
    words: str = ""
    time: float = 0.0
    exit_code: int | None = None
    node: str = ""
    failed: dict[TaskKey, str] = field(default_factory=dict)
    """The tasks that it failed, with the fingerprint of their inputs."""


@dataclass(slots=True)
class Submission:
    """One cluster job, or one array of them.

    Attributes
    ----------
    name
        Its name in the queue; no other submission has it.
    writer
        The session that submitted it.
    scheduler, environment, cluster
        Who has it; ``cluster`` as the scheduler calls itself, empty where it does not.
    elements
        The tasks of each element; one entry for a single cluster job.
    is_array
        Whether elements have indices.
    script, output
        Paths relative to the project; ``output`` with the scheduler's pattern for the id filled in by name only.
    request
        What was asked for, as plain data.
    after
        Names of submissions it waits for.
    id
        The scheduler's; None as long as the answer is not known.
    """

    name: str
    writer: str
    time: float
    scheduler: str
    environment: str
    elements: list[list[TaskKey]]
    is_array: bool
    script: str
    output: str
    request: dict[str, Any]
    after: list[str] = field(default_factory=list)
    cluster: str = ""
    id: str | None = None
    accepted: float | None = None
    is_withdrawn: bool = False
    words: str = ""
    endings: dict[int, Ending] = field(default_factory=dict)

    @property
    def is_inherited(self) -> bool:
        """Whether signac-flow has submitted it: nobody has written down its script, nor when that was."""
        return not self.script

    @property
    def submitted(self) -> float | None:
        """The time of its submission; None when it is not known."""
        return None if self.is_inherited else self.time

    @property
    def is_open(self) -> bool:
        """Whether some of it may still be in the queue or running."""
        return not self.is_withdrawn and len(self.endings) < len(self.elements)

    def open_elements(self) -> Iterator[int]:
        """Yield the numbers of the elements of which the end is not known."""
        if not self.is_withdrawn:
            for number in range(len(self.elements)):
                if number not in self.endings:
                    yield number

    def element_id(self, number: int) -> str | None:
        """Return the scheduler's id of one element."""
        if self.id is None:
            return None
        return f"{self.id}_{number}" if self.is_array else self.id

    def ending_in_words(self, number: int) -> str:
        """Say how an element has ended."""
        ending = self.endings[number]
        return f"cluster job {self.element_id(number)} {ending.state}: {ending.words}"

    def output_of(self, number: int) -> str:
        """Return the file with the output of one element, where the id in its name is known."""
        if self.id is None:
            return ""
        plain = self.id.partition(".")[0]
        path = self.output.replace("%%", "\0")
        for mark, text in (
            ("%A", plain),
            ("%J", plain),
            ("%j", plain),
            ("%a", str(number)),
            ("%I", str(number + 1)),
            ("^array_index^", str(number)),
        ):
            path = path.replace(mark, text)
        return path.replace("\0", "%")


@dataclass(frozen=True, slots=True)
class OnCluster:
    """Where a task is on the cluster, while it is there."""

    presence: Presence
    submission: Submission
    element: int
    words: str = ""

    @property
    def id(self) -> str:
        """The scheduler's id, or the name when there is none yet."""
        return self.submission.element_id(self.element) or self.submission.name


class Ledger:
    """All submissions that were ever recorded in a project, merged.

    Parameters
    ----------
    path
        The folder with the files; it need not exist.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._submissions: dict[str, Submission] | None = None
        self._failures: dict[TaskKey, Attempt] = {}
        self._last: dict[TaskKey, tuple[Submission, int]] = {}

    def submissions(self) -> list[Submission]:
        """Return all submissions in the order they were made."""
        return list(self._read().values())

    def open(self) -> list[Submission]:
        """Return the submissions of which something may still be in the queue or running."""
        return [one for one in self._read().values() if one.is_open]

    def find(self, name: str) -> Submission | None:
        """Return a submission by its name."""
        return self._read().get(name)

    def last(self, key: TaskKey) -> tuple[Submission, int] | None:
        """Return the last submission of a task and the number of its element."""
        self._read()
        found = self._last.get(key)
        return None if found is None or found[0].is_withdrawn else found

    def failed(self) -> set[TaskKey]:
        """Return the tasks that some cluster job has failed."""
        return {key for one in self._read().values() for ending in one.endings.values() for key in ending.failed}

    def failure(self, key: TaskKey) -> Attempt | None:
        """Return how the cluster job that held a task last failed it, in the shape of an attempt."""
        last = self.last(key)
        if last is None:
            return None
        submission, number = last
        ending = submission.endings.get(number)
        if ending is None or key not in ending.failed:
            return None
        return Attempt(
            f"{submission.name}-{number}",
            *key,
            submission.writer,
            submission.time,
            submission.output_of(number),
            ending.node,
            0,
            None,
            ending.time,
            Outcome.FAILED,
            ending.exit_code,
            submission.ending_in_words(number),
            ending.failed[key],
        )

    def forget(self) -> None:
        """Read the files anew at the next question."""
        self._submissions = None

    def take(self, writer: str, record: dict[str, Any]) -> None:
        """Take note of a record."""
        known = self._read()
        self._apply(known, writer, record)

    def _read(self) -> dict[str, Submission]:
        if self._submissions is None:
            self._submissions = {}
            self._last = {}
            later = []
            # What others found out about a submission may stand in a file that sorts before its own.
            for writer, record in self._records():
                if record.get("event") == "intent":
                    self._apply(self._submissions, writer, record)
                else:
                    later.append((writer, record))
            self._submissions = dict(sorted(self._submissions.items(), key=lambda item: (item[1].time, item[0])))
            for writer, record in later:
                self._apply(self._submissions, writer, record)
            self._last = {
                key: (one, number)
                for one in self._submissions.values()
                if not one.is_withdrawn
                for number, element in enumerate(one.elements)
                for key in element
            }
        return self._submissions

    def _records(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in file_names(self.path):
            with open(os.path.join(self.path, name), "rb") as file:
                for record in records(file):
                    yield name.removesuffix(SUFFIX), record

    def _apply(self, known: dict[str, Submission], writer: str, record: dict[str, Any]) -> None:
        try:
            name, event = record["submission"], record["event"]
            before = known.get(name)
            if before is not None and before.is_inherited and record["time"] < before.time:
                return  # of an earlier cluster job of this name
            if event == "intent":
                one = known[name] = Submission(
                    name,
                    writer,
                    record["time"],
                    record["scheduler"],
                    record["environment"],
                    [[(operation, aggregate) for operation, aggregate in element] for element in record["elements"]],
                    record["is_array"],
                    record["script"],
                    record["output"],
                    record["request"],
                    record["after"],
                    record.get("cluster", ""),
                )
                for number, element in enumerate(one.elements):
                    for key in element:
                        self._last[key] = (one, number)
            elif before is None:
                return
            elif event == "accepted":
                known[name].id, known[name].accepted = record["id"], record["time"]
                known[name].is_withdrawn = False
            elif event == "withdrawn":
                if known[name].id is None:
                    known[name].is_withdrawn, known[name].words = True, record["words"]
            elif event == "ended":
                known[name].endings.setdefault(
                    record["index"],
                    Ending(
                        record["state"],
                        record["words"],
                        record["time"],
                        record["exit_code"],
                        record["node"],
                        {(operation, aggregate): print_ for operation, aggregate, print_ in record["failed"]},
                    ),
                )
        except (KeyError, TypeError, ValueError):
            return  # a line of a later version, or damaged


class LedgerWriter:
    """Appends what one session learns to its own file, made with the first record.

    Parameters
    ----------
    ledger
        Takes note of each record at once.
    session
        Whose file it is.
    each_at_once
        Whether each record is on the disk before the next is made; otherwise all are when the writer is closed.
    """

    def __init__(self, ledger: Ledger, session: Session, *, each_at_once: bool = True) -> None:
        self._ledger = ledger
        self._session = session
        self._each_at_once = each_at_once
        self._file = Appender(os.path.join(ledger.path, f"{session.id}{SUFFIX}"))

    def intend(self, submission: Submission) -> None:
        """Record that a submission is about to be made."""
        self._write(
            {
                "event": "intent",
                "submission": submission.name,
                "time": submission.time,
                "scheduler": submission.scheduler,
                "environment": submission.environment,
                "cluster": submission.cluster,
                "is_array": submission.is_array,
                "script": submission.script,
                "output": submission.output,
                "request": submission.request,
                "after": submission.after,
                "elements": submission.elements,
            }
        )

    def accept(self, name: str, cluster_id: str) -> None:
        """Record the scheduler's id."""
        self._write({"event": "accepted", "submission": name, "time": time.time(), "id": cluster_id})

    def withdraw(self, name: str, words: str) -> None:
        """Record that there is no such cluster job."""
        self._write({"event": "withdrawn", "submission": name, "time": time.time(), "words": words})

    def end(self, name: str, number: int, ending: Ending) -> None:
        """Record what became of an element."""
        self._write(
            {
                "event": "ended",
                "submission": name,
                "index": number,
                "time": ending.time,
                "state": ending.state,
                "words": ending.words,
                "exit_code": ending.exit_code,
                "node": ending.node,
                "failed": [[*key, print_] for key, print_ in ending.failed.items()],
            },
            durable=False,
        )

    def close(self) -> None:
        """Make sure that what was recorded is on the disk."""
        self._file.close()

    def _write(self, record: dict[str, Any], *, durable: bool = True) -> None:
        self._file.append(record, durable=durable and self._each_at_once)
        self._ledger.take(self._session.id, record)
