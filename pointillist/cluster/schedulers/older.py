"""Schedulers that a user has written for signac-flow: a class with ``jobs`` and ``submit``, which knows jobs by name.

:class:`OlderScheduler` is what such a class inherits from, and :class:`Adapted` lets the engine speak to one. It has no
arrays, dependencies or cancellation, and what has left its queue is forgotten.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any, ClassVar

from pointillist.cluster.errors import SchedulerUnavailable, SubmissionRejected
from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.requests import Request
from pointillist.errors import PointillistError, SubmitError


class JobStatus(IntEnum):
    """What signac-flow calls the states of a task on the cluster; the numbers are in what it has stored."""

    unknown = 1
    registered = 2
    inactive = 3
    submitted = 4
    held = 5
    queued = 6
    active = 7
    error = 8
    group_registered = 9
    group_inactive = 10
    group_submitted = 11
    group_held = 12
    group_queued = 13
    group_active = 14
    group_error = 15
    placeholder = 127
    user = 128


class OlderClusterJob:
    """What such a scheduler says about a cluster job: its name, and a :class:`JobStatus`."""

    def __init__(self, job_id: str, status: JobStatus | None = None) -> None:
        self._job_id = job_id
        self._status = status

    def _id(self) -> str:
        return self._job_id

    def __str__(self) -> str:
        return str(self._id())

    def name(self) -> str:
        """Return the name under which it was submitted."""
        return self._id()

    def status(self) -> JobStatus | None:
        """Return its state."""
        return self._status


class OlderScheduler(ABC):
    """A scheduler in the form of signac-flow."""

    @classmethod
    def is_present(cls) -> bool:
        """Whether it can be used on this machine."""
        return False

    @abstractmethod
    def jobs(self) -> Iterator[OlderClusterJob]:
        """Yield what is in the queue."""

    @abstractmethod
    def submit(self, script: str, **kwargs: Any) -> Any:
        """Submit the text of a script; ``_id`` is its name."""


class FakeScheduler(OlderScheduler):
    """Print scripts instead of running them; named as ``scheduler_type`` of an environment, never found."""

    def jobs(self) -> Iterator[OlderClusterJob]:
        """Yield nothing: there is no queue."""
        return iter(())

    def submit(self, script: str, **kwargs: Any) -> None:
        """Print a script."""
        print(script)


_STATES = {
    JobStatus.submitted: State.QUEUED,
    JobStatus.held: State.HELD,
    JobStatus.queued: State.QUEUED,
    JobStatus.active: State.RUNNING,
    JobStatus.inactive: State.COMPLETED,
    JobStatus.error: State.FAILED,
}


class Adapted(Scheduler):
    """Speaks to a scheduler in the older form; what it submits is known by its name."""

    array_index = "0"
    own_id = "''"
    probe = ""
    smallest_array = sys.maxsize
    kind: ClassVar[type[OlderScheduler]]

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._older = self.kind()

    @classmethod
    def is_present(cls) -> bool:
        """Whether it can be used on this machine."""
        return bool(cls.kind.is_present())

    def jobs(self) -> Iterator[OlderClusterJob]:
        """Yield what is in the queue, in the older form."""
        return iter(self._older.jobs() or ())

    def submit(
        self,
        script_path: str,
        request: Request,
        *,
        flags: Sequence[str] = (),
        cwd: str | None = None,
        keep_fds: Sequence[int] = (),
    ) -> str:
        """Submit a script; its name is its id."""
        with open(script_path, encoding="utf-8", errors="surrogateescape") as file:
            script = file.read()
        try:
            self._older.submit(script, _id=request.name, flags=list(flags), hold=request.hold)
        except SubmitError:
            raise
        except Exception as error:
            raise SubmissionRejected(
                f"{self.name} refused '{request.name}': {type(error).__name__}: {error}",
                command=(self.name,),
                words=str(error),
            ) from error
        return request.name

    def submit_line(self, script_path: str, request: Request, flags: Sequence[str] = ()) -> str:
        """Return nothing: only the scheduler knows how it submits."""
        return ""

    def query(self, ids: Iterable[str] | None = None, *, user: str | None = None) -> dict[str, ClusterJob]:
        """Ask what is in the queue."""
        wanted = None if ids is None else set(ids)
        try:
            found = {
                job.name(): ClusterJob(
                    id=job.name(), name=job.name(), state=_STATES.get(job.status() or JobStatus.unknown, State.UNKNOWN)
                )
                for job in self.jobs()
            }
        except PointillistError:
            raise
        except Exception as error:
            raise SchedulerUnavailable(f"{self.name} gave no answer: {type(error).__name__}: {error}") from error
        return {name: job for name, job in found.items() if wanted is None or name in wanted}

    def largest_array(self) -> int | None:
        """Return how many elements an array may have: there are none."""
        return 1

    def header_lines(self, request: Request) -> list[str]:
        """Return nothing: what is asked for stands in the template."""
        return []

    def submit_arguments(self, request: Request) -> list[str]:
        """Return nothing."""
        return []

    def output_pattern(self, stem: str, *, array: bool) -> str:
        """Return the path itself."""
        return f"{stem}.out"

    def _cannot(self, *_: Any, **__: Any) -> Any:
        raise SubmitError(f"{self.name} is written for signac-flow and can only submit and be asked for its queue.")

    submit_command = parse_submit = query_command = parse_query = cancel_command = release_command = _cannot


def adapted(kind: type[OlderScheduler]) -> type[Scheduler]:
    """Return the adapter of a scheduler in the older form."""
    only_shows = issubclass(kind, FakeScheduler)
    names = {"kind": kind, "name": kind.__name__, "only_shows": only_shows, "__module__": kind.__module__}
    return type(kind.__name__, (Adapted,), names)
