"""Questions that programs ask about one job."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import Aggregate
from pointillist.errors import PointillistError, SelectionError
from pointillist.state.plan import Plan, Task

if TYPE_CHECKING:
    from pointillist.study import Study

UNKNOWN_TO_SCHEDULERS = 1


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
    remembered = _remembered(project) if cached_status is None else cached_status
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
            completed = plan.is_complete(task)
            eligible = not completed and plan.is_ready(task)
        except PointillistError as error:
            if not ignore_errors:
                raise
            result["_operations_error"] = _in_words(error)
            continue
        result["operations"][name] = {
            "scheduler_status": remembered.get(known_as, UNKNOWN_TO_SCHEDULERS),
            "eligible": eligible,
            "completed": completed,
        }
    try:
        texts = (label.of(plan.facts, job.id) for label in project.definition.labels.values())
        result["labels"] = sorted({text for text in texts if text is not None})
    except PointillistError as error:
        if not ignore_errors:
            raise
        result["_labels_error"] = _in_words(error)
    return result


def _in_words(error: PointillistError) -> str:
    cause = error.__cause__ or error
    return "".join(traceback.format_exception_only(type(cause), cause)).strip()


def _remembered(project: Study) -> Mapping[str, int]:
    """Return the scheduler status that signac-flow has left in the project document."""
    try:
        with open(os.path.join(project.path, "signac_project_document.json"), encoding="utf-8") as file:
            status = json.load(file).get("_status", {})
    except (OSError, ValueError, AttributeError):
        return {}
    return status if isinstance(status, dict) else {}
