"""The shell line of a task. Builds text; runs nothing but the user's own command function."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pointillist.definition.asking import ask
from pointillist.definition.directives import Directives, evaluate
from pointillist.definition.operations import Operation
from pointillist.errors import UserOperationError
from pointillist.execution.requeues import WARNING, is_warned

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import Task

SESSION_VARIABLE = "POINTILLIST_SESSION"
"""A command finds here the session of the run that has started it."""


def directives_of(plan: Plan, task: Task) -> Directives:
    """Return the evaluated directives of a task.

    Raises
    ------
    DirectivesError
        When one has an impossible value.
    """
    return evaluate(
        task.operation.directives,
        lambda: tuple(plan.workspace.job(i) for i in task.aggregate.job_ids),
        operation=task.operation.name,
    )


def shell_command(operation: Operation, jobs: Sequence[Any], before: str = "") -> str:
    """Return the command line of a shell operation for some jobs, with a prefix of the command.

    Raises
    ------
    UserOperationError
        When the user's function returns something that is no command line.
    """
    command = ask(
        lambda: operation.function(*jobs),
        lambda what: UserOperationError(f"The function of the operation {operation.name} raised {what}."),
    )
    if not isinstance(command, str) or not command.strip():
        raise UserOperationError(
            f"The operation {operation.name} has cmd=True, but its function returned {command!r}.",
            hint="Return the command line as a string, or take cmd=True away.",
        )
    if operation.with_job:
        return f"cd {shlex.quote(jobs[0].path)} && {before}{command}"
    return before + command


def exec_command(entrypoint: Mapping[str, str], operation: str, aggregate_ids: Sequence[str], options: str = "") -> str:
    """Return the line that runs an operation by way of the project file, in a process of its own.

    The executable may be several words (``singularity exec image.sif python3``); an executable that is the path of an
    existing file is taken as it is, spaces included. ``options`` are the user's own words, appended as they are.
    """
    executable = entrypoint.get("executable", "python")
    if os.path.exists(executable):
        executable = shlex.quote(executable)
    line = shlex.join([entrypoint.get("path", "project.py"), "exec", operation, *aggregate_ids])
    return f"{executable} {line}" + (f" {options.strip()}" if options.strip() else "")


def needs_own_process(operation: Operation, directives: Mapping[str, Any]) -> bool:
    """Say whether a task of a Python operation must run by way of the project file.

    That is so for another executable, MPI, threads, ``fork`` and options of its group.

    Parameters
    ----------
    operation
        The operation.
    directives
        The evaluated ones of the task.
    """
    return bool(
        operation.run_options.strip()
        or directives["executable"] != sys.executable
        or any(directives[key] for key in ("nranks", "omp_num_threads", "fork"))
    )


def command_line(
    operation: Operation,
    directives: Mapping[str, Any],
    aggregate_ids: Sequence[str],
    jobs: Sequence[Any],
    *,
    entrypoint: Mapping[str, str],
    before: str,
) -> str:
    """Return the line that does an operation for some aggregates in a shell.

    Parameters
    ----------
    operation, directives, aggregate_ids, jobs
        What is to be done; the directives are the evaluated ones of the task, of several tasks those of the first.
    entrypoint
        The project's ``executable`` and ``path``.
    before
        What goes before the command.
    """
    # The shell outlives the signal that is meant for what it runs, and tells how that has ended.
    outlive = f"trap : {WARNING.name[3:]}; " if is_warned(directives) else ""
    if operation.cmd:
        return outlive + shell_command(operation, jobs, before)
    words = dict(entrypoint) | {"executable": directives["executable"]}
    return outlive + before + exec_command(words, operation.name, aggregate_ids, operation.run_options)
