"""What a job's own folder tells of the work on it: a history of operations, and logs redirected there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from pointillist.errors import DefinitionError

HISTORY = "signac_execution_history.log"


class TrackOperations:
    """Hooks that append to a file in each job's folder when an operation starts and how it ends.

    Each line is a JSON object: ``stage`` (``prior`` or ``after``), ``error``, ``time``, ``operation``, ``job_id``,
    ``project`` (``path``, ``schema_version`` and, with git, ``git``: ``commit_id``, ``dirty``), ``_schema_version``;
    for an operation on several jobs also ``aggregate``, the ids of all of them. git is asked by its command.

    Parameters
    ----------
    log_filename
        Relative to the job folder.
    strict_git
        Refuse to run when the commit can't be told, or when tracked files differ from it.
    """

    def __init__(self, log_filename: str = HISTORY, strict_git: bool = True) -> None:
        self.log_filename = log_filename
        self.strict_git = strict_git

    def on_start(self, operation: str, *jobs: Any) -> None:
        """Record a start."""
        self._record("prior", operation, None, jobs)

    def on_success(self, operation: str, *jobs: Any) -> None:
        """Record a good end."""
        self._record("after", operation, None, jobs)

    def on_exception(self, operation: str, error: BaseException, *jobs: Any) -> None:
        """Record an end by an error."""
        self._record("after", operation, f"{type(error).__name__}: {error}", jobs)

    def install_operation_hooks(self, op: Any, project_cls: Any = None) -> Any:
        """Track one operation: ``@track.install_operation_hooks(Project)`` or ``install_operation_hooks(op, Project)``.

        Returns
        -------
        callable
            The operation's function, or a decorator for it.
        """
        if isinstance(op, type):
            return lambda function: self.install_operation_hooks(function, op)
        if project_cls is None:
            raise DefinitionError(
                "install_operation_hooks must know the project class.",
                hint="Write @track.install_operation_hooks(Project) above the operation.",
            )
        hooks = project_cls.operation_hooks
        for event in ("on_start", "on_success", "on_exception"):
            getattr(hooks, event)(getattr(self, event))(op)
        return op

    def install_project_hooks(self, project: Any) -> Any:
        """Track every operation of a project, and return the project."""
        for event in ("on_start", "on_success", "on_exception"):
            getattr(project.project_hooks, event).append(getattr(self, event))
        return project

    @classmethod
    def read_log(cls, job: Any, log_filename: str = HISTORY) -> list[dict[str, Any]]:
        """Return what was recorded for a job, oldest first."""
        with open(job.fn(log_filename), encoding="utf-8") as file:
            return [json.loads(line) for line in file if line.strip()]

    def _record(self, stage: str, operation: str, error: str | None, jobs: tuple[Any, ...]) -> None:
        project = jobs[0].project
        about: dict[str, Any] = {"path": project.path, "schema_version": project.config.get("schema_version")}
        git = git_state(project.path)
        if git is not None:
            about["git"] = git
        if self.strict_git and stage == "prior" and (git is None or git["dirty"]):
            what = "no git commit can be told" if git is None else "tracked files differ from the git commit"
            raise RuntimeError(
                f"{operation} is not run: {what} in {project.path}. Commit first, or use TrackOperations("
                "strict_git=False)."
            )
        record: dict[str, Any] = {
            "stage": stage,
            "error": error,
            "time": datetime.now(UTC).isoformat(),
            "project": about,
            "operation": operation,
            "_schema_version": "1",
        }
        if len(jobs) > 1:
            record["aggregate"] = [job.id for job in jobs]
        for job in jobs:
            # One write a line: lines of several processes do not mix.
            line = json.dumps(record | {"job_id": job.id}).encode() + b"\n"
            handle = os.open(job.fn(self.log_filename), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)


def git_state(path: str) -> dict[str, Any] | None:
    """Return ``commit_id`` and ``dirty`` (tracked files differ) of the git repository that holds a folder, if any."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", path, *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {
            "commit_id": git("rev-parse", "HEAD"),
            "dirty": bool(git("status", "--porcelain", "--untracked-files=no")),
        }
    except (OSError, subprocess.CalledProcessError):
        return None


@contextlib.contextmanager
def redirect_log(
    job: Any,
    filename: str = "run.log",
    formatter: logging.Formatter | None = None,
    logger: logging.Logger | None = None,
) -> Iterator[None]:
    """Write what is logged in the body also to a file in the job's folder.

    Parameters
    ----------
    job
        A signac job.
    filename
        Relative to the job's folder.
    formatter
        By default time, logger, level and message.
    logger
        By default the root logger.
    """
    handler = logging.FileHandler(job.fn(filename))
    handler.setFormatter(formatter or logging.Formatter("%(asctime)s %(name)-12s %(levelname)-8s %(message)s"))
    chosen = logger or logging.getLogger()
    chosen.addHandler(handler)
    try:
        yield
    finally:
        chosen.removeHandler(handler)
        handler.close()
