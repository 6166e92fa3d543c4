"""Labels: names a job wears while a function of it says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.conditions import Condition, Facts
from pointillist.errors import UserConditionError


@dataclass(frozen=True)
class Label:
    """A label: a name, and the function or condition that gives it to a job.

    A function that returns a string gives that string as the label; any other true value gives the name.
    """

    name: str
    function: Callable[..., Any]

    def of(self, facts: Facts, job_id: str) -> str | None:
        """Return the label text a job wears, or None."""
        if isinstance(self.function, Condition):
            return self.name if facts.holds(self.function, Aggregate(job_id, (job_id,))) else None
        try:
            value = self.function(facts.job(job_id))
        except Exception as error:
            raise UserConditionError(f"The label {self.name} raised {type(error).__name__}: {error}.") from error
        if isinstance(value, str):
            return value
        return self.name if value else None
