"""Which cluster job this process works for, as the script of the cluster job says in the environment.

A scheduler may start one cluster job several times: after its node failed, after it made room for another one, or when
it asked for more time. Each start has a mark of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

SUBMISSION_VARIABLE = "POINTILLIST_SUBMISSION"
"""Within a cluster job: the name of its submission."""

CLUSTER_JOB_VARIABLE = "POINTILLIST_CLUSTER_JOB"
"""Within a cluster job: the scheduler's id of it, with the index of an array's element; empty by hand."""

NAME_VARIABLES = ("SLURM_JOB_NAME", "PBS_JOBNAME", "LSB_JOBNAME")
"""Within a cluster job: its name, as schedulers give it; all that scripts of signac-flow say of themselves."""

START_VARIABLE = "POINTILLIST_START"
"""Within a cluster job: what tells this start of it from an earlier one."""

WARN_VARIABLE = "POINTILLIST_WARN_AT"
"""Within a cluster job whose scheduler sends no signal: when its time is nearly up, in seconds since 1970."""


@dataclass(frozen=True, slots=True)
class Place:
    """One start of one cluster job.

    Attributes
    ----------
    id
        The scheduler's id, with the index of an array's element.
    submission
        The name of its submission.
    start
        Tells the starts of one cluster job apart.
    """

    id: str
    submission: str
    start: str

    @classmethod
    def here(cls, variables: Mapping[str, str] = os.environ) -> Place | None:
        """Return the cluster job of this process; None outside of one, and in a script that runs by hand."""
        names = (CLUSTER_JOB_VARIABLE, SUBMISSION_VARIABLE, START_VARIABLE)
        values = [variables.get(name, "") for name in names]
        return cls(*values) if all(values) else None

    @classmethod
    def of(cls, record: Any) -> Place | None:
        """Read what :meth:`as_json` has written; None where there is nothing to read."""
        try:
            values = record["id"], record["submission"], record["start"]
        except (KeyError, TypeError):
            return None
        return cls(*values) if all(isinstance(value, str) for value in values) else None

    def as_json(self) -> dict[str, str]:
        """Return it as plain data."""
        return asdict(self)

    def is_later_start_of(self, other: Place | None) -> bool:
        """Whether both are starts of one cluster job; it runs once at a time, so the other one has ended."""
        if other is None:
            return False
        return (self.id, self.submission) == (other.id, other.submission) and self.start != other.start


def warned_from(variables: Mapping[str, str] = os.environ) -> float | None:
    """Return when the time of this cluster job is nearly up; None where a signal says it, or nothing does."""
    try:
        return float(variables[WARN_VARIABLE])
    except (KeyError, ValueError):
        return None
