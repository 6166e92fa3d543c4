"""Selections: which jobs and aggregates a command is about."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from pointillist.errors import SelectionError
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task


@dataclass(frozen=True)
class Selection:
    """Jobs and aggregates that a command is about, of all operations of its plan; None stands for all."""

    aggregate_ids: Collection[str] | None = None

    def wants(self, task: Task) -> bool:
        """Say whether a task is selected."""
        return self.aggregate_ids is None or task.aggregate.id in self.aggregate_ids


def aggregate_ids(
    abbreviations: Iterable[str], known: Collection[str], others: Callable[[], Mapping[str, set[str]]] = dict
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
    plan: Plan, *, ids: Iterable[str] | None = None, job_filter: Callable[[], Iterable[str]] | None = None
) -> Selection:
    """Make a selection from what a user has asked for.

    Parameters
    ----------
    plan
        All tasks there are.
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
        chosen = aggregate_ids(ids, known, plan.older_ids)
    if job_filter is not None:
        matching = set(job_filter())
        if not matching:
            raise SelectionError("No job matches the filter.", hint="`signac find` shows what a filter matches.")
        chosen = matching if chosen is None else chosen & matching
    return Selection(chosen)
