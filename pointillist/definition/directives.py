"""Directives: what an operation asks of the machine, as plain values or functions of its jobs."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from pointillist.errors import DirectivesError


def walltime_hours(value: Any) -> float:
    """Return a walltime in hours, from a number of hours or a ``timedelta``.

    Raises
    ------
    DirectivesError
        When it is neither, or shorter than a second.
    """
    if isinstance(value, datetime.timedelta):
        hours = value.total_seconds() / 3600
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        hours = float(value)
    else:
        raise DirectivesError(f"The directive walltime must be a number of hours or a timedelta, not {value!r}.")
    if not hours * 3600 >= 1:
        raise DirectivesError(f"The directive walltime must be at least one second, not {hours} hours.")
    return hours


def evaluate(directives: Mapping[str, Any], jobs: Callable[[], tuple[Any, ...]]) -> dict[str, Any]:
    """Evaluate the directives of one task; ``jobs`` is called only when a directive is a function of the jobs."""
    return {key: value(*jobs()) if callable(value) else value for key, value in directives.items()}
