"""Jobs that get another state point, and with it another id, from the very operation that works on them.

What the operation has done counts for the job as it is now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pointillist.definition.aggregates import aggregate_of
from pointillist.state.tasks import Task


def new_ids(job_ids: Iterable[str], jobs: Iterable[Any]) -> dict[str, str]:
    """Return the present id of each job that had another one, by that."""
    return {job_id: job.id for job_id, job in zip(job_ids, jobs, strict=True) if job.id != job_id}


def present(task: Task, moved: Mapping[str, str]) -> Task:
    """Return a task on the jobs as they are now."""
    job_ids = task.aggregate.job_ids
    if not any(job_id in moved for job_id in job_ids):
        return task
    return Task(task.operation, aggregate_of(moved.get(job_id, job_id) for job_id in job_ids))
