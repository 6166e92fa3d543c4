"""What a run is told and what it tells: its rules, its observers, its summary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pointillist.execution.running.machine import Machine
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.tasks import Task, TaskKey


class Observer:
    """Reads along while tasks run; does nothing by default."""

    def started(self, task: Task) -> None:
        """A task was started."""

    def ended(self, task: Task, attempt: Attempt) -> None:
        """A task ended."""

    def output(self, text: bytes) -> None:
        """Running tasks have printed something: whole lines, or the rest at the end."""

    def tick(self, *, running: int) -> None:
        """Time has passed."""

    def interrupted(self, *, running: int, again: bool) -> None:
        """The user wants to stop; ``again``: for the second time."""


@dataclass
class Summary:
    """What became of a run."""

    completed: list[Task] = field(default_factory=list)
    ended: list[tuple[Task, Attempt]] = field(default_factory=list)
    """Ended well, but not complete."""
    failed: list[tuple[Task, Attempt]] = field(default_factory=list)
    exceptions: dict[TaskKey, BaseException] = field(default_factory=dict)
    """What failed calls in this process raised, by the keys of tasks."""
    interrupted: list[tuple[Task, Attempt]] = field(default_factory=list)
    elsewhere: list[Task] = field(default_factory=list)
    """Another process is at work on them."""
    too_large: dict[str, list[Task]] = field(default_factory=dict)
    """Tasks that can't run on this machine, by the reason."""
    was_interrupted: bool = False
    goes_on: bool = False
    """Tasks have stopped because the time of their cluster job is nearly up, and will go on in another one."""

    @property
    def started(self) -> int:
        """How many tasks were started and have ended."""
        return len(self.completed) + len(self.ended) + len(self.failed) + len(self.interrupted)

    def add(self, task: Task, attempt: Attempt) -> None:
        """Take note of how a task ended, for the last time."""
        if attempt.outcome is Outcome.COMPLETED:
            self.completed.append(task)
        elif attempt.outcome is Outcome.ENDED:
            self.ended.append((task, attempt))
        elif attempt.outcome is Outcome.FAILED:
            self.failed.append((task, attempt))
        else:
            self.interrupted.append((task, attempt))


N = TypeVar("N", int, float)


def at_most(limit: N | None) -> N | None:
    """Return a limit, or None for no limit: what a negative number stands for."""
    return None if limit is not None and limit < 0 else limit


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a run goes about its tasks.

    Parameters
    ----------
    slots
        How many processes at once.
    num
        How many tasks to start at most; None for no limit.
    passes
        How often a task that ends without being complete may run; -1 for any number.
    retries
        How often a failed task is tried again within the run; None leaves it to each operation.
    retry_failed
        Whether to try tasks that failed in an earlier run.
    fail_fast
        Whether to start nothing more after the first failure.
    timeout_s
        How long one process may take; None for any time.
    inline
        Make Python calls in this process instead of in workers (``slots`` is then 1).
    machine
        What there is to hand out; None leaves every task what it takes.
    priority
        The task with the smallest value comes first; None for the usual order.
    """

    slots: int = 1
    num: int | None = None
    passes: int = 1
    retries: int | None = None
    retry_failed: bool = False
    fail_fast: bool = False
    timeout_s: float | None = None
    inline: bool = False
    machine: Machine | None = None
    priority: Callable[[Task], Any] | None = None
