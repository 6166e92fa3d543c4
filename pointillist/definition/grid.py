"""Grids: all combinations of parameter values, and the jobs they become."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pointillist.project import FlowProject


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Return every combination of the values of some parameters, the last one varying fastest.

    Parameters
    ----------
    axes
        For each parameter a list, tuple or other collection of values, or one value (a string is one value).

    Examples
    --------
    >>> grid(seed=[1, 2], dropout=0.5)
    [{'seed': 1, 'dropout': 0.5}, {'seed': 2, 'dropout': 0.5}]
    """
    values = [list(v) if isinstance(v, Iterable) and not isinstance(v, (str, Mapping)) else [v] for v in axes.values()]
    return [dict(zip(axes, combination, strict=True)) for combination in itertools.product(*values)]


class JobCounts(NamedTuple):
    """How many jobs were made, and how many were there already."""

    new: int
    existing: int


def make_jobs(project: FlowProject, statepoints: Iterable[Mapping[str, Any]]) -> JobCounts:
    """Make a job for each state point that has none yet; existing jobs are left as they are.

    Returns
    -------
    JobCounts
        The numbers of new and of existing jobs; a state point given twice counts once.
    """
    jobs = {job.id: job for job in (project.open_job(dict(statepoint)) for statepoint in statepoints)}
    missing = [job for job in jobs.values() if job not in project]
    for job in missing:
        job.init()
    return JobCounts(len(missing), len(jobs) - len(missing))
