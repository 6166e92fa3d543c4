"""``FlowProject.run``: the local run for Python programs and notebooks."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import get_aggregate_id
from pointillist.errors import UserOperationError
from pointillist.execution.commands import exec_command, shell_command
from pointillist.execution.local import LocalRun, Observer, Summary
from pointillist.state.plan import Plan, State, Task
from pointillist.state.selection import Selection, operation_names

if TYPE_CHECKING:
    from pointillist.project import FlowProject


class PrintOutput(Observer):
    """Prints what tasks print."""

    def output(self, text: bytes) -> None:
        sys.stdout.write(text.decode(errors="replace"))
        sys.stdout.flush()


def run_project(
    project: FlowProject,
    *,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    pretend: bool,
    np: int | None,
    num: int | None,
    retry_failed: bool,
) -> None:
    """Run a project from Python; see :meth:`pointillist.project.FlowProject.run`."""
    plan = project.plan()
    ids = None
    if jobs is not None:
        ids = {get_aggregate_id(entry if isinstance(entry, (tuple, list)) else (entry,)) for entry in jobs}
    selection = Selection(operation_names(names, list(plan.definition.operations)), ids)
    if pretend:
        for line in pretended(project, plan, selection, num, retry_failed=retry_failed):
            print(line)
        return
    slots = np if np and np > 0 else (os.cpu_count() or 1) if np else 1
    summary = start(project, plan, selection, slots, num=num, retry_failed=retry_failed, inline=np is None)
    if summary.was_interrupted:
        raise KeyboardInterrupt
    if summary.failed:
        task, attempt = summary.failed[0]
        more = f" {len(summary.failed) - 1} more failed." if len(summary.failed) > 1 else ""
        raise UserOperationError(
            f"The operation {task.operation.name} failed for {task.aggregate.id}: {attempt.message}.{more}",
            hint=f"The log is {attempt.log}.",
        )


def start(
    project: FlowProject,
    plan: Plan,
    selection: Selection,
    slots: int,
    *,
    num: int | None = None,
    retry_failed: bool = False,
    inline: bool = False,
    observer: Observer | None = None,
) -> Summary:
    """Run the selected tasks of a plan on this machine."""
    operations = plan.definition.operations.values()
    if not inline and any(
        not o.cmd and (selection.operations is None or o.name in selection.operations) for o in operations
    ):
        project.signac_project  # noqa: B018 - imported once here, not by each worker
    return LocalRun(
        plan,
        project.sessions(),
        root=project.path,
        state_folder=project.state_folder,
        slots=slots,
        wants=selection.wants,
        num=num,
        retry_failed=retry_failed,
        inline=inline,
        observer=observer or PrintOutput(),
    ).execute()


def pretended(
    project: FlowProject, plan: Plan, selection: Selection, num: int | None, *, retry_failed: bool
) -> list[str]:
    """Return the command lines that a run would start now, without any effect."""
    startable = (State.ELIGIBLE, State.FAILED) if retry_failed else (State.ELIGIBLE,)
    chosen: dict[str, list[Task]] = {}
    count = 0
    for task in plan.tasks():
        if num is not None and count >= num:
            break
        if selection.wants(task) and plan.state(task) in startable:
            chosen.setdefault(task.operation.name, []).append(task)
            count += 1
    lines = []
    for tasks in chosen.values():
        operation = tasks[0].operation
        size = (operation.max_batch or len(tasks)) if operation.is_batched else 1
        for first in range(0, len(tasks), size):
            part = tasks[first : first + size]
            if operation.cmd:
                jobs = [plan.workspace.job(i) for t in part for i in t.aggregate.job_ids]
                lines.append(shell_command(operation, jobs))
            else:
                lines.append(exec_command(project._entrypoint, operation.name, [t.aggregate.id for t in part]))
    return lines
