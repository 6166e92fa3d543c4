"""``FlowProject.run`` for Python programs and notebooks, and what it shares with the command line."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import get_aggregate_id
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.registry import Definition
from pointillist.errors import DefinitionError, SelectionError, UserOperationError, near_matches
from pointillist.execution.commands import command_line
from pointillist.execution.job_operations import JobOperation
from pointillist.execution.terms import Observer, Rules, Summary
from pointillist.state.plan import Plan, State, Task
from pointillist.state.selection import Selection

if TYPE_CHECKING:
    from pointillist.project import FlowProject
    from pointillist.study import Study

Order = str | Callable[[Any], Any] | None
ORDERS = ("none", "by-job", "cyclic", "random")
JOB_ID = re.compile(r"[0-9a-f]{32}")


class PrintOutput(Observer):
    """Prints what tasks print."""

    def output(self, text: bytes) -> None:
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()


def planned(
    project: Study,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
) -> tuple[Plan, Selection]:
    """Return the plan that a call from Python is about, and what it selects.

    Raises
    ------
    SelectionError
        When a name, a job or an aggregate is unknown.
    """
    if not isinstance(ignore_conditions, IgnoreConditions):
        raise ValueError(f"ignore_conditions must be of IgnoreConditions, not {ignore_conditions!r}.")
    definition = chosen_definition(project, known_names(project, names), ignore_conditions)
    if jobs is None:
        return project.plan(definition), Selection(list(definition.operations))
    ids = {get_aggregate_id(entry if isinstance(entry, (tuple, list)) else (entry,)) for entry in jobs}
    plan = plan_for(project, definition, ids)
    known = {task.aggregate.id for task in plan.tasks()}
    unknown = sorted(ids - known - set(plan.workspace.broken) - set(plan.workspace.job_ids))
    if unknown:
        older = plan.older_ids()
        ids = {older.get(i, i) for i in ids}
        unknown = [i for i in unknown if i not in older]
    if unknown:
        raise SelectionError(f"{unknown[0]} is no job or aggregate of this project.")
    return plan, Selection(list(definition.operations), ids)


def known_names(project: Study, names: Iterable[str] | None) -> list[str] | None:
    """Return the names that match something; say of the others on standard error that they do not.

    Raises
    ------
    ValueError
        When there is one text instead of several.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise ValueError(f"The names of operations must be several: names=[{names!r}].")
    names = list(names)
    groups = project.definition.groups
    unknown = [name for name in names if not any(n == name or re.fullmatch(name, n) for n in groups)]
    if unknown:
        near = " ".join(near_matches(name, groups) for name in unknown)
        print(f"Unrecognized flow operation(s): {', '.join(unknown)}. {near}".strip(), file=sys.stderr)
    return [name for name in names if name not in unknown]


def chosen_definition(
    project: Study,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
    *,
    may_overlap: bool = False,
) -> Definition:
    """Return the part of a project that names of operations and groups select."""
    return project.definition.chosen(
        names,
        without_pre=bool(ignore_conditions & IgnoreConditions.PRE),
        without_post=bool(ignore_conditions & IgnoreConditions.POST),
        may_overlap=may_overlap,
    )


def plan_for(project: Study, definition: Definition, ids: Iterable[str] | None) -> Plan:
    """Return a plan that knows what there is to know of some jobs or aggregates (None: of all).

    When every id is that of a job, and no operation works on several jobs, the other jobs need not be looked at: that
    is what each task of a cluster asks for, whatever the size of the workspace.
    """
    if ids is not None and all(operation.aggregator.is_single for operation in definition.operations.values()):
        ids = list(ids)
        if all(JOB_ID.fullmatch(i) and os.path.isdir(os.path.join(project.workspace, i)) for i in ids):
            return project.plan(definition, job_ids=ids)
    return project.plan(definition)


def run_project(
    project: FlowProject,
    *,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    pretend: bool,
    np: int | None,
    timeout: float | None,
    num: int | None,
    num_passes: int,
    progress: bool,
    order: Order,
    ignore_conditions: IgnoreConditions,
    retry_failed: bool,
) -> None:
    """Run a project from Python; see :meth:`pointillist.project.FlowProject.run`."""
    plan, selection = planned(project, jobs, names, ignore_conditions)
    if pretend:
        for line in pretended(project, plan, selection, num, retry_failed=retry_failed, order=order):
            print(line)
        return
    rules = Rules(
        slots=np if np and np > 0 else (os.cpu_count() or 1) if np else 1,
        num=num,
        passes=num_passes,
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
            f"The operation {task.operation.name} failed for {task.aggregate.id}: {attempt.message}.{more}",
            hint=f"The log is {attempt.log}.",
        )


class _ShowProgress(PrintOutput):
    """Says on standard error which task has ended."""

    _done = 0

    def ended(self, task: Task, attempt: Any) -> None:
        self._done += 1
        print(f"{self._done} through: {task}, {attempt.outcome}", file=sys.stderr)


def start(
    project: FlowProject, plan: Plan, selection: Selection, rules: Rules, *, observer: Observer | None = None
) -> Summary:
    """Run the selected tasks of a plan on this machine."""
    operations = plan.definition.operations.values()
    if not rules.inline and any(
        not o.cmd and (selection.operations is None or o.name in selection.operations) for o in operations
    ):
        project.signac_project  # noqa: B018 - imported once here, not by each worker
    from pointillist.execution.local import LocalRun

    return LocalRun(
        plan,
        project.sessions(),
        root=project.path,
        state_folder=project.state_folder,
        rules=rules,
        entrypoint=project._entrypoint,
        wants=selection.wants,
        observer=observer or PrintOutput(),
    ).execute()


def ranking(project: FlowProject, plan: Plan, order: Order) -> Callable[[Task], Any] | None:
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
        return lambda task: key(
            JobOperation(project, task, tuple(plan.workspace.job(i) for i in task.aggregate.job_ids))
        )
    if order == "random":
        import random

        return lambda task: random.random()
    if order not in ORDERS:
        raise DefinitionError(
            f"There is no order {order!r}.", hint=near_matches(order, ORDERS) or f"There are {', '.join(ORDERS)}."
        )
    place = {name: number for number, name in enumerate(plan.definition.operations)}
    if order == "by-job":
        return lambda task: (task.aggregate.id, place[task.operation.name])
    nth: dict[tuple[str, str], int] = {}
    seen: dict[str, int] = {}
    for task in plan.tasks():
        nth[task.key] = seen[task.operation.name] = seen.get(task.operation.name, -1) + 1
    return lambda task: (nth.get(task.key, len(nth)), place[task.operation.name])


def pretended(
    project: FlowProject,
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
            part = together[first : first + size]
            jobs = [plan.workspace.job(i) for t in part for i in t.aggregate.job_ids]
            ids = [t.aggregate.id for t in part]
            lines.append(command_line(operation, ids, jobs, entrypoint=project._entrypoint))
    return lines
