"""Execute one operation in this process, unconditionally: what a cluster job or a person at a shell asks for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.grid import JOB_ID
from pointillist.definition.operations import Operation
from pointillist.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, TaskRunningError
from pointillist.execution.commands import SESSION_VARIABLE, shell_command
from pointillist.execution.moves import new_ids, present
from pointillist.execution.running.processes import exit_code_of
from pointillist.execution.running.work import REPORT_VARIABLE
from pointillist.state.journal import JournalWriter, Outcome
from pointillist.state.older import older_ids
from pointillist.state.selection import aggregate_ids, no_such_id
from pointillist.state.tasks import Task
from pointillist.state.workspace import Workspace

if TYPE_CHECKING:
    from pointillist.state.sessions import Sessions
    from pointillist.study import Study

_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID")
"""Where launchers of parallel programs say which of the processes this is."""


def execute(project: Study, operation: Operation, ids: Sequence[str]) -> int:
    """Execute an operation for some aggregates, one after the other, and return the exit code.

    Raises
    ------
    SelectionError
        When an id is unknown.
    TaskRunningError
        When another process works on one of the tasks.
    """
    workspace = project.read_workspace()
    aggregates = list(_aggregates(workspace, operation, ids))
    sessions = project.sessions()
    session = sessions.open()
    journal = JournalWriter(project.journal([aggregate.id for aggregate in aggregates]), session)
    code = EXIT_OK
    try:
        for aggregate in aggregates:
            if _is_part_of_a_run(sessions, operation, aggregate):
                # Whoever started us has claimed the task and records how it ends.
                exit_code, _, moved = _execute(workspace, operation, aggregate, project.path)
                code = code or exit_code
                _report(moved)
                continue
            if not sessions.claim(session, operation.name, aggregate.id):
                holder = sessions.holder(operation.name, aggregate.id)
                raise TaskRunningError(
                    f"{operation.name} ({aggregate.id}) is being worked on by {holder}.",
                    hint="Wait for it to end, or stop that process.",
                )
            attempt = journal.start(operation.name, aggregate.id, log="")
            exit_code, message, moved = EXIT_INTERRUPTED, "stopped by the user", {}
            try:
                exit_code, message, moved = _execute(workspace, operation, aggregate, project.path)
            finally:
                outcome = {EXIT_OK: Outcome.ENDED, EXIT_INTERRUPTED: Outcome.INTERRUPTED}.get(exit_code, Outcome.FAILED)
                now = present(Task(operation, aggregate), moved).aggregate.id
                journal.end(attempt, outcome, exit_code=exit_code, message=message, aggregate_id=now)
                sessions.release(operation.name, aggregate.id)
            if exit_code:
                code = EXIT_FAILED
    finally:
        journal.close()
        session.close()
    return code


def _is_part_of_a_run(sessions: Sessions, operation: Operation, aggregate: Aggregate) -> bool:
    """Say whether a run has started this process for the task, or another rank of the same program claims it."""
    if any(os.environ.get(name, "0") not in ("", "0") for name in _RANKS):
        return True
    run = os.environ.get(SESSION_VARIABLE)
    return run is not None and sessions.holder(operation.name, aggregate.id) == run


def _aggregates(workspace: Workspace, operation: Operation, ids: Sequence[str]) -> Iterable[Aggregate]:
    if ids and operation.aggregator.is_single and all(map(JOB_ID.fullmatch, ids)):
        # What cluster jobs ask for: the other jobs of the workspace need not be looked at.
        for job_id in ids:
            if not workspace.has_folder(job_id):
                raise no_such_id(job_id)
            workspace.statepoint(job_id)
        return [Aggregate(i, (i,)) for i in dict.fromkeys(ids)]
    aggregates = operation.aggregator.aggregates(workspace, workspace.job_ids)
    if not ids:
        return aggregates
    known = [aggregate.id for aggregate in aggregates]
    # Nothing asks here whether the work is done, so an id that stands for several is not taken.
    chosen = aggregate_ids(
        ids, known, lambda: {i: same for i, same in older_ids(workspace, [operation]).items() if len(same) == 1}
    )
    return [aggregate for aggregate in aggregates if aggregate.id in chosen]


def _report(moved: dict[str, str]) -> None:
    """Tell the run that has started this process which jobs have got another state point."""
    path = os.environ.get(REPORT_VARIABLE)
    if moved and path:
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"event": "moved", "folder": "", "ids": moved}) + "\n")


def _execute(
    workspace: Workspace, operation: Operation, aggregate: Aggregate, root: str
) -> tuple[int, str, dict[str, str]]:
    """Return the exit code, what there is to say of a failure, and the new ids of jobs."""
    jobs = [workspace.job(i) for i in aggregate.job_ids]
    code, message = _do(operation, jobs, root)
    moved = new_ids(aggregate.job_ids, jobs)
    workspace.let_go(moved)
    return code, message, moved


def _do(operation: Operation, jobs: list[Any], root: str) -> tuple[int, str]:
    try:
        if operation.cmd:
            with operation.hooks.around(operation.name, *jobs):
                subprocess.run(shell_command(operation, jobs), shell=True, cwd=root, check=True)
        else:
            operation.work(jobs)
    except SystemExit as error:
        # It ends this task; others may stand behind it.
        code = exit_code_of(error)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return code, "" if code == 0 else f"SystemExit: {error.code}"
    except Exception as error:
        if operation.cmd and isinstance(error, subprocess.CalledProcessError):
            return error.returncode, f"exit code {error.returncode}"
        traceback.print_exc(file=sys.stderr)
        return 1, f"{type(error).__name__}: {error}"
    return 0, ""
