"""Cluster jobs that are put back: which of their tasks may go on, and how often.

A task is asked to stop, by a signal, some time before its cluster job is ended (the directive ``signal_before_s``). It
goes on in the next start of the cluster job when it declares ``requeue``: ``True`` for :data:`USUAL_REQUEUES` times, or
a number. Decides; touches nothing.
"""

from __future__ import annotations

import signal as signals
from collections.abc import Iterable, Mapping
from typing import Any

from pointillist.errors import EXIT_AGAIN, DirectivesError
from pointillist.state.journal import Attempt
from pointillist.state.place import Place

USUAL_REQUEUES = 3

WARNING = signals.SIGUSR1
"""What a task gets when the time of its cluster job is nearly up."""

_STOPPED = (0, EXIT_AGAIN, -WARNING, 128 + WARNING)


def is_warned(directives: Mapping[str, Any]) -> bool:
    """Whether a task wants to know that its time is nearly up."""
    return bool(directives.get("signal_before_s"))


def has_stopped(exit_code: int) -> bool:
    """Whether a process that was warned has ended for that reason: well, asking to go on, or by the signal itself."""
    return exit_code in _STOPPED


def most_requeues(directives: Mapping[str, Any]) -> int | None:
    """Return how often a cluster job may be put back for a task; None when the task does not say.

    Raises
    ------
    DirectivesError
        When it says something else than yes, no or a number.
    """
    value = directives.get("requeue")
    if value is None or value is False:
        return None if value is None else 0
    if value is True:
        return USUAL_REQUEUES
    if not isinstance(value, int) or value < 0:
        raise DirectivesError(f"The directive requeue is True, False or a whole number of times, not {value!r}.")
    return value


def earlier_starts(attempts: Iterable[Attempt], here: Place) -> int:
    """Count the earlier starts of this cluster job in which a task was begun."""
    places = [attempt.cluster_job for attempt in attempts]
    return len({place.start for place in places if place is not None and here.is_later_start_of(place)})


def spent(count: int, most: int) -> str:
    """Say that a cluster job was put back as often as a task allows, or more often."""
    return (
        f"its cluster job was put back {times(count)}, which did not suffice, and it allows {times(most)}:"
        " more walltime, or a larger requeue, lets it end"
    )


def times(count: int) -> str:
    """Say how often."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
