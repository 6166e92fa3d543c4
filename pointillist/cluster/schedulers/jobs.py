"""What any scheduler says about a cluster job, in no scheduler's dialect."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from pointillist.cluster.schedulers.requests import split_id


class State(Enum):
    """Say what a cluster job is doing, in no scheduler's dialect."""

    QUEUED = "queued"
    HELD = "held"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDING = "ending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed out"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    PREEMPTED = "preempted"
    UNKNOWN = "unknown"
    """The scheduler used a word we do not know. Not final: nothing may be concluded from it."""

    @property
    def is_final(self) -> bool:
        """Whether the cluster job has ended for good."""
        return self in _FINAL


_FINAL = frozenset(
    {
        State.COMPLETED,
        State.FAILED,
        State.CANCELLED,
        State.TIMED_OUT,
        State.OUT_OF_MEMORY,
        State.NODE_FAILED,
        State.PREEMPTED,
    }
)


@dataclass(frozen=True, kw_only=True)
class ClusterJob:
    """Tell what a scheduler says about one cluster job, or one element of an array.

    Attributes
    ----------
    id
        ``<job id>`` or ``<job id>_<index>``.
    name, comment
        As submitted, as far as the scheduler gives them back.
    state
        Neutral state.
    native_state
        The scheduler's own word for it.
    reason
        The scheduler's own word for why it waits or how it ended; empty when there is none.
    reason_words
        The same as a sentence.
    owner
        Whose it is, where the scheduler can only be asked about everybody.
    never_starts
        True when the scheduler says that it can never start.
    exit_code, exit_signal
        How the script ended, where known.
    node
        Where it ran, where known.
    """

    id: str
    name: str = ""
    state: State = State.UNKNOWN
    native_state: str = ""
    reason: str = ""
    reason_words: str = ""
    comment: str = ""
    owner: str = ""
    never_starts: bool = False
    exit_code: int | None = None
    exit_signal: int | None = None
    node: str = ""

    @property
    def job_id(self) -> str:
        """The id without an array index."""
        return split_id(self.id)[0]

    @property
    def array_index(self) -> int | None:
        """The index in its array; None for a single job."""
        return split_id(self.id)[1]
