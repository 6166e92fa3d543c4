"""Which tasks a task that can't start yet waits for: what ``submit --all`` chains together.

Read off the conditions: an unmet pre-condition that is also a post-condition of another operation, or that names that
operation, will hold when its tasks on the same jobs are done. Decides; touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pointillist.definition.conditions import Condition, Copied
from pointillist.definition.operations import Operation
from pointillist.errors import PointillistError
from pointillist.state.tasks import State, TaskKey

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import Task


def chained(
    plan: Plan, startable: Iterable[Task], *, wants: Callable[[Task], bool], is_there: Callable[[TaskKey], bool]
) -> dict[TaskKey, set[TaskKey]]:
    """Return the tasks that can start now or after others, in an order that works, with what each waits for.

    Parameters
    ----------
    startable
        The tasks that can start now.
    wants
        Says which waiting tasks may be taken.
    is_there
        Says of a task whether it is on the cluster already; others may wait for it.
    """
    chain: dict[TaskKey, set[TaskKey]] = {task.key: set() for task in startable}
    by_job: dict[str, dict[str, list[Task]]] = {}
    waiting = []
    for task in plan.tasks():
        for job_id in task.aggregate.job_ids:
            by_job.setdefault(job_id, {}).setdefault(task.operation.name, []).append(task)
        if task.key not in chain and wants(task) and plan.state(task) is State.WAITING:
            waiting.append(task)
    moved = True
    while moved and waiting:
        moved, left = False, []
        for task in waiting:
            before = _before(plan, task, by_job, lambda key: key in chain or is_there(key))
            if before:
                chain[task.key] = before
                moved = True
            else:
                left.append(task)
        waiting = left
    return chain


def _before(
    plan: Plan, task: Task, by_job: dict[str, dict[str, list[Task]]], may_come: Callable[[TaskKey], bool]
) -> set[TaskKey] | None:
    """Return the tasks that will make the pre-conditions of one hold; None when nothing that may come does."""
    before: set[TaskKey] = set()
    for condition in task.operation.pre:
        try:
            if plan.facts.holds(condition, task.aggregate):
                continue
            makers = _makers(plan, condition)
        except PointillistError:
            return None
        open_tasks = {
            other.key: other
            for maker in makers
            if maker.name != task.operation.name
            for job_id in task.aggregate.job_ids
            for other in by_job.get(job_id, {}).get(maker.name, ())
            if plan.state(other) is not State.COMPLETED
        }
        if not open_tasks or not all(may_come(key) for key in open_tasks):
            return None
        before |= open_tasks.keys()
    return before


def _makers(plan: Plan, condition: Condition) -> list[Operation]:
    """Return the operations after which a condition holds."""
    if isinstance(condition, Copied):
        named = [plan.facts.operation_of(function) for function in condition.functions]
        if condition.kind == "post":
            return named
        return [maker for operation in named for part in operation.pre for maker in _makers(plan, part)]
    return [one for one in plan.definition.operations.values() if condition in one.post]
