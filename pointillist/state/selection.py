"""Selections: which tasks a command is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pointillist.errors import SelectionError, near_matches
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task


@dataclass(frozen=True)
class Selection:
    """Operations and aggregates that a command is about; None stands for all."""

    operations: Collection[str] | None = None
    aggregate_ids: Collection[str] | None = None

    def wants(self, task: Task) -> bool:
        """Say whether a task is selected."""
        if self.operations is not None and task.operation.name not in self.operations:
            return False
        return self.aggregate_ids is None or task.aggregate.id in self.aggregate_ids


def operation_names(patterns: Iterable[str] | None, known: Collection[str]) -> list[str] | None:
    """Return the operations whose names match regular expressions in full; None selects all.

    Raises
    ------
    SelectionError
        When an expression matches nothing or is none.
    """
    if patterns is None:
        return None
    matched: set[str] = set()
    for pattern in patterns:
        try:
            found = [name for name in known if name == pattern or re.fullmatch(pattern, name)]
        except re.error as error:
            raise SelectionError(f"The operation pattern {pattern!r} is no regular expression: {error}.") from error
        if not found:
            raise SelectionError(
                f"There is no operation {pattern!r}.",
                hint=near_matches(pattern, known) or "`python project.py status` lists the operations.",
            )
        matched.update(found)
    return [name for name in known if name in matched]


def aggregate_ids(
    abbreviations: Iterable[str], known: Sequence[str], others: Callable[[], Mapping[str, set[str]]] = dict
) -> set[str]:
    """Return the full ids for full or abbreviated ones of jobs and aggregates.

    Parameters
    ----------
    others
        Returns ids by other names that they, or several of them together, go by; asked for aggregates that are
        not known.

    Raises
    ------
    SelectionError
        When one fits none, or several.
    """
    ids, matched = set(known), set()
    for abbreviation in abbreviations:
        found = [abbreviation] if abbreviation in ids else [i for i in ids if i.startswith(abbreviation)]
        if not found and abbreviation.startswith("agg-"):
            named = [same for other, same in others().items() if other.startswith(abbreviation)]
            if len(named) == 1:
                matched |= named[0]
                continue
            found = sorted(set().union(*named))
        if len(found) != 1 or not abbreviation:
            if found:
                raise SelectionError(
                    f"The id {abbreviation!r} fits {len(found)} jobs or aggregates.", hint="Write more of it."
                )
            raise no_such_id(abbreviation)
        matched.add(found[0])
    return matched


def no_such_id(wanted: str) -> SelectionError:
    """Return the error that says that nothing has an id."""
    thing = "aggregate" if wanted.startswith("agg-") else "job"
    return SelectionError(
        f"Did not find {thing} with id {wanted!r}.", hint="`python project.py status -d` lists the ids."
    )


def select(
    plan: Plan,
    *,
    operations: Iterable[str] | None = None,
    ids: Iterable[str] | None = None,
    job_filter: Any = None,
) -> Selection:
    """Make a selection from what a user has asked for.

    Parameters
    ----------
    plan
        All tasks there are.
    operations
        Regular expressions of operation names.
    ids
        Full or abbreviated ids of jobs and aggregates.
    job_filter
        A function that returns the ids of the jobs that match a filter.

    Raises
    ------
    SelectionError
        When something asked for is not there.
    """
    chosen: set[str] | None = None
    if ids is not None:
        known = {task.aggregate.id for task in plan.tasks()} | set(plan.workspace.job_ids) | set(plan.workspace.broken)
        chosen = aggregate_ids(ids, sorted(known), plan.older_ids)
    if job_filter is not None:
        matching = set(job_filter())
        if not matching:
            raise SelectionError("No job matches the filter.", hint="`signac find` shows what a filter matches.")
        chosen = matching if chosen is None else chosen & matching
    return Selection(operation_names(operations, list(plan.definition.operations)), chosen)
