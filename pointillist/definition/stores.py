"""The aggregates of a project as mappings and iterables, for programs that look at them outside of a plan.

They follow the workspace: each question is answered from the jobs that are there at that moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pointillist.definition.aggregates import aggregator
    from pointillist.definition.registry import Definition

Jobs = tuple[Any, ...]


class Project(Protocol):
    """What stores need of a project."""

    @property
    def definition(self) -> Definition:
        """What it declares."""

    def read_workspace(self) -> Any:
        """Return a fresh reader of the job folders."""

    def find_jobs(self, filter: Mapping[str, Any] | None) -> Any:
        """Return the signac jobs that a filter finds."""


class AggregateStore(Mapping[str, Jobs]):
    """The aggregates that one aggregator makes of a project's jobs, by id.

    Raises
    ------
    KeyError
        When jobs lack a key to group or sort by.
    """

    def __init__(self, aggregator: aggregator, project: Project) -> None:
        self._aggregator = aggregator
        self._project = project
        self._aggregates()

    def _aggregates(self) -> dict[str, Jobs]:
        source = self._project.read_workspace()
        made = self._aggregator.aggregates(source, source.job_ids)
        return {one.id: tuple(source.job(i) for i in one.job_ids) for one in made}

    def __getitem__(self, aggregate_id: str) -> Jobs:
        return self._aggregates()[aggregate_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._aggregates())

    def __len__(self) -> int:
        return len(self._aggregates())

    def values(self) -> Any:
        """Return the aggregates."""
        return self._aggregates().values()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AggregateStore) and self._aggregator == other._aggregator

    def __hash__(self) -> int:
        return hash(self._aggregator)


class AggregateStoresCursor:
    """All aggregates that some operation or group of a project works on, each once."""

    def __init__(self, project: Project) -> None:
        groups = project.definition.groups.values()
        self._stores = [AggregateStore(one, project) for one in dict.fromkeys(group.aggregator for group in groups)]

    def _all(self) -> dict[str, Jobs]:
        return {key: jobs for store in self._stores for key, jobs in store._aggregates().items()}

    def __iter__(self) -> Iterator[Jobs]:
        return iter(self._all().values())

    def __len__(self) -> int:
        return len(self._all())

    def __contains__(self, jobs: Iterable[Any]) -> bool:
        wanted = {job.id for job in jobs}
        return any(wanted == {job.id for job in found} for found in self._all().values())


class JobAggregateCursor:
    """The jobs that a filter finds, each as an aggregate of its own.

    Parameters
    ----------
    project
        Whose jobs.
    filter
        As ``find_jobs`` of signac takes it; by default all jobs.
    """

    def __init__(self, project: Project, filter: Mapping[str, Any] | None = None) -> None:
        self._jobs = project.find_jobs(filter)

    def __iter__(self) -> Iterator[Jobs]:
        return ((job,) for job in self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, jobs: Jobs) -> bool:
        return len(jobs) == 1 and jobs[0] in self._jobs
