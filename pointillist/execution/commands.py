"""The shell line of a task. Builds text; runs nothing but the user's own command function."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pointillist.definition.operations import Operation
from pointillist.errors import UserOperationError


def shell_command(operation: Operation, jobs: Sequence[Any]) -> str:
    """Return the command line of a shell operation for some jobs.

    Raises
    ------
    UserOperationError
        When the user's function returns something that is no command line.
    """
    command = operation.function(*jobs)
    if not isinstance(command, str) or not command.strip():
        raise UserOperationError(
            f"The operation {operation.name} has cmd=True, but its function returned {command!r}.",
            hint="Return the command line as a string, or take cmd=True away.",
        )
    if operation.with_job:
        return f"cd {shlex.quote(jobs[0].path)} && {command}"
    return command


def exec_command(entrypoint: Mapping[str, str], operation: str, aggregate_ids: Sequence[str]) -> str:
    """Return the line that runs an operation by way of the project file, in a process of its own."""
    words = [entrypoint.get("executable", "python"), entrypoint.get("path", "project.py"), "exec", operation]
    return shlex.join([*words, *aggregate_ids])
