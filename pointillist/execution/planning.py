"""What a call or a command is about: names of operations and jobs in, a plan and what is selected of it out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import get_aggregate_id
from pointillist.definition.grid import JOB_ID
from pointillist.definition.groups import matching
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.registry import Definition
from pointillist.errors import SelectionError, UserConditionError, near_matches
from pointillist.state.selection import Selection

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.study import Study


def planned(
    project: Study,
    jobs: Iterable[Any] | None,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
) -> tuple[Plan, Selection]:
    """Return the plan that a call from Python is about, and what it selects.

    Raises
    ------
    SelectionError
        When a name, a job or an aggregate is unknown.
    """
    if not isinstance(ignore_conditions, IgnoreConditions):
        raise ValueError(f"ignore_conditions must be of IgnoreConditions, not {ignore_conditions!r}.")
    definition = chosen_definition(project, known_names(project, names), ignore_conditions)
    if jobs is None:
        return project.plan(definition), Selection()
    ids = {_id_of(entry) for entry in jobs}
    plan = plan_for(project, definition, ids)
    known = {task.aggregate.id for task in plan.tasks()}
    unknown = sorted(ids - known - set(plan.workspace.broken) - set(plan.workspace.job_ids))
    if unknown:
        older = plan.older_ids()
        ids = set().union(*(older.get(i, {i}) for i in ids))
        unknown = [i for i in unknown if i not in older]
    if unknown:
        raise SelectionError(f"{unknown[0]} is no job or aggregate of this project.")
    return plan, Selection(ids)


def _id_of(entry: Any) -> str:
    try:
        return get_aggregate_id(entry if isinstance(entry, (tuple, list)) else (entry,))
    except AttributeError:
        raise TypeError(f"jobs must hold signac jobs, or tuples of them, not {entry!r}.") from None


def known_names(project: Study, names: Iterable[str] | None) -> list[str] | None:
    """Return the names that match something; say of the others on standard error that they do not.

    Raises
    ------
    ValueError
        When there is one text instead of several; ``PatternError`` when one is no regular expression.
    """
    if names is None:
        return None
    if isinstance(names, str):
        raise ValueError(f"The names of operations must be several: names=[{names!r}].")
    names = list(names)
    groups = project.definition.groups
    unknown = [name for name in names if not matching(name, groups)]
    if unknown:
        near = " ".join(near_matches(name, groups) for name in unknown)
        print(f"Unrecognized flow operation(s): {', '.join(unknown)}. {near}".strip(), file=sys.stderr)
    return [name for name in names if name not in unknown]


def chosen_definition(
    project: Study,
    names: Iterable[str] | None,
    ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
    *,
    may_overlap: bool = False,
) -> Definition:
    """Return the part of a project that names of operations and groups select."""
    return project.definition.chosen(
        names,
        without_pre=bool(ignore_conditions & IgnoreConditions.PRE),
        without_post=bool(ignore_conditions & IgnoreConditions.POST),
        may_overlap=may_overlap,
    )


def mention_left_out(plan: Plan) -> None:
    """Say on standard error what can't be read, and which conditions and aggregators have raised, as far as asked."""
    for error in plan.workspace.broken.values():
        print(f"Left out: {error} {error.hint}", file=sys.stderr)
    for message in dict.fromkeys(str(error) for error in plan.errors.values()):
        print(f"Left out: {message}", file=sys.stderr)
    if (trouble := plan.journal.trouble()) is not None:
        print(f"{trouble} {trouble.hint}", file=sys.stderr)


def unanswered(plan: Plan, selection: Selection) -> list[UserConditionError]:
    """Return why selected tasks could not be decided about: a condition or an aggregator of the user raised."""
    ids = selection.aggregate_ids
    errors = [error for (_, i), error in plan.errors.items() if not i or ids is None or i in ids]
    return [error for error in errors if isinstance(error, UserConditionError)]


def plan_for(project: Study, definition: Definition, ids: Iterable[str] | None) -> Plan:
    """Return a plan that knows what there is to know of some jobs or aggregates (None: of all).

    When every id is that of a job, and no operation works on several jobs, the other jobs need not be looked at: that
    is what each task of a cluster asks for, whatever the size of the workspace.
    """
    if ids is not None and all(operation.aggregator.is_single for operation in definition.operations.values()):
        ids = list(ids)
        if all(JOB_ID.fullmatch(i) and os.path.isdir(os.path.join(project.workspace, i)) for i in ids):
            return project.plan(definition, job_ids=ids)
    return project.plan(definition)
