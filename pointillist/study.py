"""A study to look at: what its class declares and what is true now, in Python. Nothing here runs or submits anything.

Each answer comes from the room that knows it, which is loaded when somebody asks.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pointillist.data import DataSpace
from pointillist.definition.declarations import Declarations
from pointillist.definition.groups import job_operation_id
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.registry import Definition

if TYPE_CHECKING:
    from pointillist.cluster.schedulers.older import OlderClusterJob
    from pointillist.execution.job_operations import JobOperation
    from pointillist.state.journal import Journal
    from pointillist.state.plan import Plan
    from pointillist.state.sessions import Sessions
    from pointillist.state.submissions import Ledger
    from pointillist.state.workspace import Workspace

STATE_FOLDER = ".pointillist"


class Study(Declarations, DataSpace):
    """The declarations of a class over the jobs of a signac project; the parameters are those of ``FlowProject``."""

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        environment: Any = None,
        entrypoint: dict[str, str] | None = None,
    ) -> None:
        super().__init__(path)
        self._chosen_environment = environment
        self._entrypoint = dict(entrypoint or {})
        self.definition  # noqa: B018 - a project that declares something impossible can't be made

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._chosen_environment, self._entrypoint)

    @property
    def _environment(self) -> Any:
        """The compute environment: the one given, or the one detected."""
        if self._chosen_environment is None:
            from pointillist.cluster.environments import get_environment

            self._chosen_environment = get_environment()
        return self._chosen_environment

    @_environment.setter
    def _environment(self, environment: Any) -> None:
        self._chosen_environment = environment

    @property
    def _id_separator(self) -> str:
        # An environment may have been given, or hold no separator; none is detected for the sake of an id.
        return getattr(self._chosen_environment, "JOB_ID_SEPARATOR", "/")

    def _job_operation_id(self, aggregate_id: str, operations: Collection[str]) -> str:
        """Return the id of some operations on an aggregate, by which signac-flow knows them on a cluster."""
        return job_operation_id(type(self).__name__, self._path, aggregate_id, operations, self._id_separator)

    @property
    def state_folder(self) -> str:
        """The folder of the engine's own files: journal, claims, logs."""
        return os.path.join(self._path, STATE_FOLDER)

    @property
    def template_folder(self) -> str:
        """The folder of the user's templates: ``template_dir`` of the signac configuration, or ``templates``."""
        return os.path.join(self._path, self.config.get("template_dir", "templates"))

    def plan(self, definition: Definition | None = None, *, job_ids: Collection[str] | None = None) -> Plan:
        """Read the workspace and return every task with its state.

        Parameters
        ----------
        definition
            A part of what is declared; by default all of it.
        job_ids
            Read only these jobs, as if there were no others.
        """
        from pointillist.execution.submitting.following import follow
        from pointillist.state.plan import Plan

        return Plan(
            definition or self.definition,
            self.read_workspace(job_ids),
            self.journal(job_ids),
            self.sessions(),
            lambda: self._code_version,
            follow(self),
        )

    @cached_property
    def _code_version(self) -> str:
        from pointillist.state.code import code_version

        return code_version(self._path)

    def read_workspace(self, job_ids: Collection[str] | None = None) -> Workspace:
        """Return a fresh reader of the job folders, of all or of some."""
        from pointillist.state.workspace import Workspace

        cache_folder = os.path.join(self.state_folder, "cache")
        return Workspace(self.workspace, self._open_job, cache_folder, only=job_ids)

    def journal(self, aggregate_ids: Collection[str] | None = None) -> Journal:
        """Return the record of all attempts, or of those at some aggregates."""
        from pointillist.state.journal import Journal

        return Journal(os.path.join(self.state_folder, "journal"), only=aggregate_ids)

    def ledger(self) -> Ledger:
        """Return the record of what was submitted."""
        from pointillist.state.submissions import Ledger

        return Ledger(os.path.join(self.state_folder, "submissions"))

    def sessions(self) -> Sessions:
        """Return the sessions and claims of all processes that run tasks of this project."""
        from pointillist.state.sessions import Sessions

        return Sessions(self.state_folder)

    def labels(self, job: Any) -> Iterator[str]:
        """Yield the labels that a job wears."""
        from pointillist.execution.questions import labels_of

        yield from labels_of(self.plan(job_ids=[job.id]), job.id)

    def completed_operations(self, job: Any) -> Iterator[str]:
        """Yield the names of the operations whose post-conditions hold for a job."""
        from pointillist.execution.questions import completed_operations

        return completed_operations(self, job)

    def get_job_status(
        self, job: Any, ignore_errors: bool = False, cached_status: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return what is known of one job.

        Parameters
        ----------
        job
            A signac job.
        ignore_errors
            Put what a condition or a label raises into the answer, instead of raising it.
        cached_status
            Scheduler status by job-operation id; by default what the project document remembers.

        Returns
        -------
        dict
            ``job_id``, ``operations`` (name to ``scheduler_status``, ``eligible``, ``completed``), ``labels``,
            ``_operations_error``, ``_labels_error``.
        """
        from pointillist.execution.questions import job_status

        return job_status(self, job, ignore_errors=ignore_errors, cached_status=cached_status)

    def scheduler_jobs(self, scheduler: Any) -> Iterator[OlderClusterJob]:
        """Yield what is in the queue of a scheduler: a name and a status for each task, bundles taken apart."""
        from pointillist.execution.submitting.older_queue import scheduler_jobs

        return scheduler_jobs(self, scheduler)

    def detect_operation_graph(self) -> list[list[int]]:
        """Return the adjacency matrix of the operations: 1 where the column's waits for what the row's achieves.

        Raises
        ------
        RuntimeError
            When a condition can't be compared with others, because it has no code of its own and no tag.
        """
        from pointillist.definition.graph import adjacency

        return adjacency(self.definition)

    def _next_operations(
        self,
        jobs: Iterable[Any] | None = None,
        operation_names: Iterable[str] | None = None,
        ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
    ) -> Iterator[JobOperation]:
        """Yield what could run now, one operation on one aggregate each."""
        from pointillist.execution.job_operations import next_operations

        return next_operations(self, jobs, operation_names, ignore_conditions)
