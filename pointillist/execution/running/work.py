"""A piece of work: tasks that one process works through, what it has printed, and how far it says it is."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pointillist.definition.operations import Operation
from pointillist.execution.running.machine import Grant
from pointillist.execution.running.processes import Process
from pointillist.state.journal import Attempt
from pointillist.state.tasks import Task

REPORT_VARIABLE = "POINTILLIST_REPORT"
"""A command of a batch finds here the file to append its progress to, as JSON lines with ``folder`` and ``event``."""


@dataclass
class Work:
    """Tasks that one process works through, with what is known of each; all by the id of their aggregate."""

    operation: Operation
    tasks: dict[str, Task]
    attempts: dict[str, Attempt]
    log: str
    log_fd: int
    grant: Grant
    process: Process
    command: str = ""
    """The line for the shell that its process does; empty for a call of a Python function."""
    batch: str | None = None
    report: str | None = None
    began: float = 0.0
    """When it was begun, by :func:`time.monotonic`."""
    ahead: list[Work] = field(default_factory=list)
    """What its process is to do next, claimed already; the first of them begins when this ends."""
    was_ahead: bool = False
    """Whether its process knew of it before it was its turn."""
    deadline: float | None = None
    """When its time is up, by :func:`time.monotonic`."""
    timed_out_after: float | None = None
    """Its time in seconds, once that is up."""
    is_warned: bool = False
    """Whether it was told that the time of its cluster job is nearly up."""
    open: set[str] = field(default_factory=set)
    """Tasks that have not ended yet."""
    reached: set[str] = field(default_factory=set)
    """Tasks that the process says it has come to."""
    moved: dict[str, str] = field(default_factory=dict)
    """The new id of each of its jobs that got another state point from it, by the id it had."""
    _report_read: int = 0
    _log_read: int = 0

    @property
    def job_ids(self) -> list[str]:
        """The jobs of its tasks."""
        return [i for task in self.tasks.values() for i in task.aggregate.job_ids]

    @property
    def is_nearly_through(self) -> bool:
        """Whether its process will soon be free: at a single task, or at the end of a batch."""
        return not self.operation.is_batched or 4 * len(self.open) <= len(self.tasks)

    @property
    def is_late(self) -> bool:
        """Whether its time is up."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def read_report(self) -> Iterator[tuple[str, str]]:
        """Yield the id and the error, if any, of each task that the process has newly reported as ended."""
        if self.report is None:
            return
        for line in self._new_lines(self.report):
            try:
                record = json.loads(line)
                task_id = os.path.basename(os.path.normpath(record["folder"]))
                event, error = record["event"], record.get("error") or ""
                if event == "moved":
                    self.moved |= record["ids"]
                    continue
            except (ValueError, KeyError, TypeError):
                continue
            if task_id in self.open:
                self.reached.add(task_id)
                if event == "end":
                    yield task_id, str(error)

    def pass_output(self, take: Callable[[bytes], None], *, everything: bool) -> None:
        """Hand on what the process has newly printed: whole lines, or with ``everything`` also an unfinished one."""
        while chunk := os.pread(self.log_fd, 1 << 20, self._log_read):
            if not everything:
                chunk = chunk[: chunk.rfind(b"\n") + 1]
                if not chunk:
                    return
            self._log_read += len(chunk)
            take(chunk)

    def remove_report(self) -> None:
        """Take away the report, which is of no use when the process has ended."""
        if self.report is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.report)

    def _new_lines(self, path: str) -> list[bytes]:
        try:
            with open(path, "rb") as file:
                file.seek(self._report_read)
                text = file.read()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind(b"\n") + 1]
        self._report_read += len(whole)
        return whole.splitlines()
