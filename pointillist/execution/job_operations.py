"""Job-operations: what could run now, as objects that templates, orders and other programs look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pointillist.definition.directives import Directives
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.execution.commands import command_line, directives_of
from pointillist.execution.planning import planned, unanswered
from pointillist.execution.prefixes import prefix_of
from pointillist.state.selection import Selection
from pointillist.state.tasks import State, Task

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.study import Study


class JobOperation:
    """One operation on one aggregate, or on those of a batch.

    Parameters
    ----------
    project, plan
        Whose operation it is, and where its jobs are.
    tasks
        The operation on each of the aggregates.
    directives
        The evaluated ones, where they are known already.

    Attributes
    ----------
    name
        The operation's name.
    """

    def __init__(self, project: Study, plan: Plan, tasks: Sequence[Task], directives: Directives | None = None) -> None:
        self._task = tasks[0]
        self.name = self._task.operation.name
        self._project = project
        self._plan = plan
        self._tasks = tasks
        self._jobs = tuple(plan.workspace.job(i) for task in tasks for i in task.aggregate.job_ids)
        if directives is not None:
            self.directives = directives

    @cached_property
    def id(self) -> str:
        """The name under which a scheduler knows it; the same as signac-flow's."""
        return self._project._job_operation_id(self._task.aggregate.id, [self.name])

    @cached_property
    def directives(self) -> Directives:
        """The evaluated directives; of a batch those of its first task."""
        return directives_of(self._plan, self._task)

    @property
    def prefix(self) -> str:
        """What goes before its command: threads and ranks, as the compute environment says it."""
        return prefix_of(self, self._project)

    @property
    def cmd(self) -> str:
        """The line that does it in a shell. For a shell operation this calls the user's function."""
        return command_line(
            self._task.operation,
            self.directives,
            [task.aggregate.id for task in self._tasks],
            self._jobs,
            entrypoint=self._project._entrypoint,
            before=self.prefix,
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


def job_operations(project: Study, plan: Plan, selection: Selection, states: Iterable[State]) -> Iterator[JobOperation]:
    """Yield the selected tasks of a plan that are in one of some states."""
    states = set(states)
    for task in plan.tasks():
        if selection.wants(task) and plan.state(task) in states:
            yield JobOperation(project, plan, [task])
