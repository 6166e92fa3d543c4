"""One operation as declared, with everything that decides when and how its tasks run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pointillist.definition.aggregates import EACH_JOB, aggregator
from pointillist.definition.conditions import Condition
from pointillist.errors import DefinitionError


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A part of the study.

    Parameters
    ----------
    name
        Unique in the project.
    function
        Called with the jobs of a task; for a shell operation it returns the command line.
    cmd
        Whether the function returns a shell command.
    with_job
        Whether it runs inside the job's folder.
    directives
        What a task asks of the machine; values may be functions of the jobs.
    aggregator
        Which jobs make up a task.
    batch
        How many tasks one process may work through: 1, a number, or True for as many as suit.
    pre, post
        A task may run when all of ``pre`` hold; it is complete when there are ``post`` and all of them hold.
    """

    name: str
    function: Callable[..., Any]
    cmd: bool = False
    with_job: bool = False
    directives: Mapping[str, Any]
    aggregator: aggregator = EACH_JOB
    batch: int | bool = 1
    pre: tuple[Condition, ...] = ()
    post: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        if not self.name:
            raise DefinitionError("An operation needs a name.")
        if self.with_job and not self.aggregator.is_single:
            raise DefinitionError(f"The operation {self.name} has with_job, which needs tasks of one job each.")
        if self.batch is not True and (
            isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1
        ):
            raise DefinitionError(f"The operation {self.name} has batch={self.batch!r}: a positive number or True.")
        if self.is_batched and self.with_job:
            raise DefinitionError(f"The operation {self.name} has a batch and with_job, which needs one job at a time.")

    @property
    def is_batched(self) -> bool:
        """Whether one process may work through several tasks."""
        return self.batch is True or self.batch > 1

    @property
    def max_batch(self) -> int | None:
        """The largest batch; None when there is no limit."""
        return None if self.batch is True else int(self.batch)
