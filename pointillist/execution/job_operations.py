"""Job-operations: what could run now, as objects that templates, orders and other programs look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pointillist.definition.directives import Directives, evaluate
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.execution.commands import command_line
from pointillist.execution.planning import planned, unanswered
from pointillist.state.selection import Selection
from pointillist.state.tasks import State, Task

if TYPE_CHECKING:
    from pointillist.study import Study


class JobOperation:
    """One operation on one aggregate.

    Attributes
    ----------
    name
        The operation's name.
    """

    def __init__(self, project: Study, task: Task, jobs: tuple[Any, ...]) -> None:
        self.name = task.operation.name
        self._project = project
        self._task = task
        self._jobs = jobs

    @cached_property
    def id(self) -> str:
        """The name under which a scheduler knows it; the same as signac-flow's."""
        return self._project._job_operation_id(self._task.aggregate.id, [self.name])

    @cached_property
    def directives(self) -> Directives:
        """The evaluated directives."""
        return evaluate(self._task.operation.directives, lambda: self._jobs, operation=self.name)

    @property
    def cmd(self) -> str:
        """The line that does it in a shell. For a shell operation this calls the user's function."""
        return command_line(
            self._task.operation,
            self.directives,
            [self._task.aggregate.id],
            self._jobs,
            entrypoint=self._project._entrypoint,
        )

    def __str__(self) -> str:
        return f"{self.name}({', '.join(str(job) for job in self._jobs)})"

    def __repr__(self) -> str:
        return f"JobOperation(name={self.name!r}, jobs={self._jobs!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JobOperation) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


def next_operations(
    project: Study,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions,
) -> Iterator[JobOperation]:
    """Yield what could run now, job by job."""
    plan, selection = planned(project, jobs, names, ignore_conditions)
    by_aggregate: dict[str, list[JobOperation]] = {}
    # What a cluster has taken on counts as well: a program may ask for its id to find it there.
    for operation in job_operations(project, plan, selection, (State.ELIGIBLE, State.FAILED, State.QUEUED)):
        if plan.state(operation._task) is State.QUEUED and not plan.is_ready(operation._task):
            continue
        by_aggregate.setdefault(operation._task.aggregate.id, []).append(operation)
    for error in unanswered(plan, selection):
        raise error
    for operations in by_aggregate.values():
        for operation in operations:
            operation.directives  # noqa: B018 - impossible values are refused here and now
            yield operation


def job_operations(project: Study, plan: Any, selection: Selection, states: Iterable[State]) -> Iterator[Any]:
    """Yield the selected tasks of a plan that are in one of some states."""
    states = set(states)
    for task in plan.tasks():
        if selection.wants(task) and plan.state(task) in states:
            yield JobOperation(project, task, tuple(plan.workspace.job(i) for i in task.aggregate.job_ids))
