"""Questions that programs ask about one job."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import Aggregate, get_aggregate_id
from pointillist.errors import PointillistError, SelectionError
from pointillist.execution.submitting.older import stored_status
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task

if TYPE_CHECKING:
    from pointillist.study import Study

UNKNOWN_TO_SCHEDULERS, SUBMITTED = 1, 4
"""Two of the numbers by which signac-flow writes scheduler status down."""


def plan_of(project: Study, job: Any) -> Plan:
    """Return the plan of one job, whatever other jobs there are.

    Raises
    ------
    SelectionError
        When the job is not in the workspace.
    """
    if not os.path.isdir(os.path.join(project.workspace, job.id)):
        raise SelectionError(f"Job {job.id} is not in the workspace.", hint="job.init() puts it there.")
    # An operation that works on several jobs may leave this one out, or put it with others.
    alone = all(operation.aggregator.is_single for operation in project.definition.operations.values())
    plan = project.plan(job_ids=[job.id] if alone else None)
    if job.id not in plan.workspace.job_ids:
        raise plan.workspace.broken[job.id]
    return plan


def completed_operations(project: Study, job: Any) -> Iterator[str]:
    """Yield the names of the operations whose post-conditions hold for a job, taken by itself."""
    plan = plan_of(project, job)
    for name, operation in project.definition.operations.items():
        if plan.is_complete(Task(operation, Aggregate(job.id, (job.id,)))):
            yield name


def job_status(
    project: Study, job: Any, *, ignore_errors: bool, cached_status: Mapping[str, int] | None
) -> dict[str, Any]:
    """Return what is known of one job; see :meth:`pointillist.project.FlowProject.get_job_status`."""
    plan = plan_of(project, job)
    remembered = remembered_status(project) if cached_status is None else cached_status
    result: dict[str, Any] = {
        "job_id": job.id,
        "operations": {},
        "_operations_error": None,
        "labels": [],
        "_labels_error": None,
    }
    for name in project.definition.operations:
        task = plan.find(name, job.id)
        if task is None:
            continue
        known_as = project._job_operation_id(job.id, [name])
        try:
            result["operations"][name] = _answers(plan, task, remembered.get(known_as))
        except PointillistError as error:
            if not ignore_errors:
                raise
            result["_operations_error"] = _in_words(error)
    try:
        result["labels"] = sorted(set(labels_of(plan, job.id)))
    except PointillistError as error:
        if not ignore_errors:
            raise
        result["_labels_error"] = _in_words(error)
    return result


def _in_words(error: PointillistError) -> str:
    cause = error.__cause__ or error
    return "".join(traceback.format_exception_only(type(cause), cause)).strip()


def remembered_status(project: Study) -> dict[str, int]:
    """Return the scheduler status of tasks by their ids, as last written down: by signac-flow, or by ``submit``."""
    known = stored_status(project)
    for submission in project.ledger().open():
        for number in submission.open_elements():
            for operation, aggregate_id in submission.elements[number]:
                known.setdefault(project._job_operation_id(aggregate_id, [operation]), SUBMITTED)
    return known


def status_of_aggregates(project: Study, aggregates: Iterable[tuple[Any, ...]] | None) -> list[dict[str, Any]]:
    """Return what is known of each aggregate, in the form of signac-flow; of all when none are named."""
    plan = project.plan()
    wanted = None if aggregates is None else {get_aggregate_id(jobs) for jobs in aggregates}
    remembered = remembered_status(project)
    rows: dict[str, dict[str, Any]] = {}
    for task in plan.tasks():
        one, name = task.aggregate.id, task.operation.name
        if wanted is None or one in wanted:
            row = rows.setdefault(one, {"aggregate_id": one, "groups": {}, "labels": [], "_error": None})
            row["groups"][name] = _answers(plan, task, remembered.get(project._job_operation_id(one, [name])))
    for job_id in plan.workspace.job_ids:
        if job_id in rows:
            rows[job_id]["labels"] = sorted(set(labels_of(plan, job_id)))
    return list(rows.values())


def _answers(plan: Plan, task: Task, scheduler_status: int | None) -> dict[str, Any]:
    completed = plan.is_complete(task)
    return {
        "scheduler_status": UNKNOWN_TO_SCHEDULERS if scheduler_status is None else scheduler_status,
        "eligible": not completed and plan.is_ready(task),
        "completed": completed,
    }


def labels_of(plan: Plan, job_id: str) -> Iterator[str]:
    """Yield the labels that a job wears."""
    texts = (label.of(plan.facts, job_id) for label in plan.definition.labels)
    return (text for text in texts if text is not None)
