"""The queue of a scheduler in the words of signac-flow: one entry for each task, under the task's own id."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.older import JobStatus, OlderClusterJob

if TYPE_CHECKING:
    from pointillist.study import Study

_STATUS = {
    State.QUEUED: JobStatus.queued,
    State.HELD: JobStatus.held,
    State.RUNNING: JobStatus.active,
    State.SUSPENDED: JobStatus.held,
    State.ENDING: JobStatus.active,
    State.COMPLETED: JobStatus.inactive,
    State.UNKNOWN: JobStatus.registered,
}


def scheduler_jobs(project: Study, scheduler: Any) -> Iterator[OlderClusterJob]:
    """Yield what is in a queue, with bundles and arrays taken apart into the ids of their tasks."""
    ledger = project.ledger()
    by_name = {submission.name: submission for submission in ledger.submissions()}
    for name, index, status in _entries(scheduler):
        submission = by_name.get(name)
        if submission is None:
            members: Iterable[str] = _bundled(project, name)
        else:
            elements = submission.elements if index is None else submission.elements[index : index + 1]
            members = [
                project._job_operation_id(aggregate_id, [operation])
                for element in elements
                for operation, aggregate_id in element
            ]
        for member in members:
            yield OlderClusterJob(member, status)


def _entries(scheduler: Any) -> Iterator[tuple[str, int | None, JobStatus]]:
    if hasattr(scheduler, "query"):
        for job in scheduler.query().values():
            yield job.name, job.array_index, _STATUS.get(job.state, JobStatus.error)
    else:
        for older in scheduler.jobs():
            yield older.name(), None, older.status() or JobStatus.unknown


def _bundled(project: Study, name: str) -> list[str]:
    """Return the ids in a bundle that signac-flow has submitted; the name itself when it is none."""
    try:
        with open(os.path.join(project.path, ".bundles", name), encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip()]
    except OSError:
        return [name]
