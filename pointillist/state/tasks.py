"""Tasks, and the one state that each is in."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.operations import Operation

TaskKey = tuple[str, str]
"""By what a task is known in records: the operation's name and the aggregate's id."""


class State(StrEnum):
    """The state of a task: exactly one of these."""

    COMPLETED = "completed"
    RUNNING = "running"
    QUEUED = "queued"
    FAILED = "failed"
    ELIGIBLE = "eligible"
    WAITING = "waiting"
    BROKEN = "broken"
    """A condition can't be answered: a file of the job is damaged, or a function of the user raised."""


class Task(NamedTuple):
    """The unit that is completed, eligible, waiting, running, queued or failed."""

    operation: Operation
    aggregate: Aggregate

    @property
    def key(self) -> TaskKey:
        """By what it is known in records."""
        return self.operation.name, self.aggregate.id

    def __str__(self) -> str:
        return f"{self.operation.name} ({self.aggregate.id})"
