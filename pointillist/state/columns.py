"""Columns of states: those of all tasks of an operation, worked out in one sweep over columns of answers.

What the answers alone can't tell is left open, to be worked out for the task itself.
"""

from __future__ import annotations

from collections.abc import Collection

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.operations import Operation
from pointillist.state.facts import OPPOSITE, Facts, both, combined
from pointillist.state.grouping import Groups
from pointillist.state.survey import NO, UNKNOWN, YES
from pointillist.state.tasks import State

STATES = list(State)
CODES = {state: code for code, state in enumerate(STATES)}
OPEN, NO_TASK = 254, 255
"""Codes in a column of states: not worked out; there is no such task."""

_STATE_OF = bytes(
    {
        (NO, NO): CODES[State.WAITING],
        (NO, YES): CODES[State.ELIGIBLE],
        (YES, NO): CODES[State.COMPLETED],
        (YES, YES): CODES[State.COMPLETED],
        (YES, UNKNOWN): CODES[State.COMPLETED],
    }.get((complete, ready), OPEN)
    for complete in (NO, YES, UNKNOWN)
    for ready in (NO, YES, UNKNOWN)
).ljust(256, b"\0")
"""By 3 * complete + ready."""


def states_of_jobs(facts: Facts, operation: Operation, jobs: bytes) -> bytearray:
    """Return the codes of the tasks of an operation on single jobs, given a column of those that can be read."""
    complete = facts.all_hold(operation.post, jobs) if operation.post else bytes(len(jobs))
    # Only where it is known not to be complete does it matter whether it is ready.
    ready = facts.all_hold(operation.pre, both(jobs, complete.translate(OPPOSITE)))
    return bytearray(combined(complete, ready).translate(_STATE_OF))


def states_of_groups(facts: Facts, operation: Operation, aggregates: Collection[Aggregate]) -> bytes:
    """Return the codes of the tasks of an operation on several jobs, as far as what was declared tells them."""
    try:
        groups = Groups((aggregate.job_ids for aggregate in aggregates), facts.places)
    except KeyError:  # a function of the user's has put something else than jobs of ours into a group
        return bytes([OPEN]) * len(aggregates)
    complete = facts.known(operation.post, groups) if operation.post else bytes(len(groups))
    return combined(complete, facts.known(operation.pre, groups)).translate(_STATE_OF)
