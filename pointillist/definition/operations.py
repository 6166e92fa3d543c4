"""One operation as declared, with everything that decides when and how its tasks run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pointillist.definition.aggregates import EACH_JOB, aggregator
from pointillist.definition.conditions import Condition
from pointillist.definition.hooks import HookChain
from pointillist.definition.marks import in_folder
from pointillist.definition.older import OlderOperation
from pointillist.errors import DefinitionError


@dataclass(frozen=True, kw_only=True)
class Operation(OlderOperation):
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
    retries
        How often a task that failed is tried again within a run.
    pre, post
        A task may run when all of ``pre`` hold; it is complete when there are ``post`` and all of them hold.
    hooks
        Called when a task starts and when it ends.
    run_options
        Appended to the line that executes a task in a process of its own; comes from a group.
    """

    name: str
    function: Callable[..., Any]
    cmd: bool = False
    with_job: bool = False
    directives: Mapping[str, Any]
    aggregator: aggregator = EACH_JOB
    batch: int | bool = 1
    retries: int = 0
    pre: tuple[Condition, ...] = ()
    post: tuple[Condition, ...] = ()
    hooks: HookChain = field(default_factory=HookChain, compare=False)
    run_options: str = ""

    def __call__(self, *jobs: Any) -> Any:
        """Call the function: it does the work, or returns the command line; ``with_job``, in the job's folder."""
        function = in_folder(self.function, cmd=self.cmd) if self.with_job else self.function
        return function(*jobs)

    def work(self, jobs: Sequence[Any]) -> None:
        """Do a Python operation for some jobs: with its hooks, inside the job's folder when it wants to."""
        with contextlib.ExitStack() as stack:
            if self.hooks:
                # In a batch each job is a task of its own.
                for task in [(job,) for job in jobs] if self.is_batched else [tuple(jobs)]:
                    stack.enter_context(self.hooks.around(self.name, *task))
            if self.with_job:
                stack.enter_context(jobs[0])
            self.function(*jobs)

    def __post_init__(self) -> None:
        if not self.name:
            raise DefinitionError("An operation needs a name.")
        if self.name.startswith("-"):
            raise DefinitionError(f"The operation {self.name} can't begin with a hyphen: it would look like an option.")
        if self.with_job and not self.aggregator.is_single:
            raise DefinitionError(f"The operation {self.name} has with_job, which needs tasks of one job each.")
        if self.batch is not True and (
            isinstance(self.batch, bool) or not isinstance(self.batch, int) or self.batch < 1
        ):
            raise DefinitionError(f"The operation {self.name} has batch={self.batch!r}: a positive number or True.")
        if not isinstance(self.retries, int) or self.retries < 0:
            raise DefinitionError(f"The operation {self.name} has retries={self.retries!r}: a number, or 0.")
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
