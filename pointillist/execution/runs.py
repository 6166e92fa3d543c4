"""Runs as Python programs and the command line ask for them: from beginning to end, in some order, or pretended."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pointillist.definition.ignoring import IgnoreConditions
from pointillist.errors import DefinitionError, UserOperationError, near_matches
from pointillist.execution.job_operations import JobOperation
from pointillist.execution.planning import mention_left_out, planned, unanswered
from pointillist.execution.running.terms import Observer, Rules, Summary, at_most
from pointillist.state.plan import Plan
from pointillist.state.selection import Selection
from pointillist.state.slices import count_cores
from pointillist.state.tasks import State, Task
from pointillist.wording import sentence

if TYPE_CHECKING:
    from pointillist.study import Study

Order = str | Callable[[Any], Any] | None
ORDERS = ("none", "by-job", "cyclic", "random")


class PrintOutput(Observer):
    """Prints what tasks print."""

    def output(self, text: bytes) -> None:
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()


def run_project(
    project: Study,
    *,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    pretend: bool,
    np: int | None,
    timeout: float | None,
    num: int | None,
    num_passes: int | None,
    progress: bool,
    order: Order,
    ignore_conditions: IgnoreConditions,
    retry_failed: bool,
) -> None:
    """Run a project from Python; see :meth:`pointillist.project.FlowProject.run`."""
    plan, selection = planned(project, jobs, names, ignore_conditions)
    num, timeout = at_most(num), at_most(timeout)
    if pretend:
        for line in pretended(project, plan, selection, num, retry_failed=retry_failed, order=order):
            print(line)
        return
    mention_left_out(plan)
    rules = Rules(
        slots=np if np and np > 0 else count_cores() if np else 1,
        num=num,
        passes=-1 if num_passes is None else num_passes,
        retry_failed=retry_failed,
        timeout_s=timeout,
        inline=np is None and timeout is None,
        priority=ranking(project, plan, order),
    )
    summary = start(project, plan, selection, rules, observer=_ShowProgress() if progress else None)
    if summary.was_interrupted:
        raise KeyboardInterrupt
    if summary.failed:
        task, attempt = summary.failed[0]
        more = f" {len(summary.failed) - 1} more failed." if len(summary.failed) > 1 else ""
        raise UserOperationError(
            sentence(f"The operation {task.operation.name} failed for {task.aggregate.id}: {attempt.message}") + more,
            hint=f"The log is {attempt.log}.",
        ) from summary.exceptions.get(task.key)
    for error in unanswered(plan, selection):
        raise error


class _ShowProgress(PrintOutput):
    """Says on standard error which task has ended."""

    _done = 0

    def ended(self, task: Task, attempt: Any) -> None:
        self._done += 1
        print(f"{self._done} through: {task}, {attempt.outcome}", file=sys.stderr)


def start(
    project: Study, plan: Plan, selection: Selection, rules: Rules, *, observer: Observer | None = None
) -> Summary:
    """Run the selected tasks of a plan on this machine."""
    from pointillist.execution.running.local import LocalRun

    return LocalRun(
        project,
        plan,
        rules=rules,
        wants=selection.wants,
        observer=observer or PrintOutput(),
    ).execute()


def ranking(project: Study, plan: Plan, order: Order) -> Callable[[Task], Any] | None:
    """Return a key that sorts tasks in the order asked for; None when any order will do.

    Raises
    ------
    DefinitionError
        When there is no such order.
    """
    if order is None or order == "none":
        return None
    if callable(order):
        key = order
        return lambda task: key(JobOperation(project, plan, [task]))
    if order == "random":
        import random

        return lambda task: random.random()
    if order not in ORDERS:
        raise DefinitionError(
            f"There is no order {order!r}.",
            hint=near_matches(str(order), ORDERS) or f"There are {', '.join(ORDERS)}, or a function.",
        )
    place = {name: number for number, name in enumerate(plan.definition.operations)}
    if order == "by-job":
        return lambda task: (task.aggregate.id, place[task.operation.name])
    had: Counter[str] = Counter()

    def turn(task: Task) -> int:
        had[task.aggregate.id] += 1
        return had[task.aggregate.id]

    return turn


def pretended(
    project: Study,
    plan: Plan,
    selection: Selection,
    num: int | None,
    *,
    retry_failed: bool,
    order: Order = None,
) -> list[str]:
    """Return the command lines that a run would start now, without any effect."""
    startable = (State.ELIGIBLE, State.FAILED) if retry_failed else (State.ELIGIBLE,)
    tasks = [task for task in plan.tasks() if selection.wants(task) and plan.state(task) in startable]
    rank = ranking(project, plan, order)
    if rank is not None:
        tasks.sort(key=rank)
    chosen: dict[tuple[str, int], list[Task]] = {}
    for number, task in enumerate(tasks[:num]):
        chosen.setdefault((task.operation.name, 0 if task.operation.is_batched else number), []).append(task)
    lines = []
    for together in chosen.values():
        operation = together[0].operation
        size = (operation.max_batch or len(together)) if operation.is_batched else 1
        for first in range(0, len(together), size):
            lines.append(JobOperation(project, plan, together[first : first + size]).cmd)
    return lines
