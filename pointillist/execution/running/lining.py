"""Brief tasks in line behind one that runs, so that no process waits for the loop in between.

Only tasks of which the engine knows that those before them don't change whether they may run: tasks on single jobs
whose conditions say what they read. Each is claimed, and asked its conditions, like any other. One that has not begun
can be taken back at any time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from pointillist.definition.operations import Operation
from pointillist.execution.running.attempts import Attempts
from pointillist.execution.running.candidates import Candidates
from pointillist.execution.running.launch import Launcher
from pointillist.execution.running.machine import NOTHING
from pointillist.execution.running.work import Work
from pointillist.execution.running.workers import Worker
from pointillist.state.plan import Plan
from pointillist.state.tasks import Task

BRIEF_S = 0.05
"""Tasks of an operation of which several, one after the other, took no longer than this are lined up."""

BRIEF_ONES = 3
"""So many of them."""

PATIENCE_S = 0.5
"""What stands in line is taken back after this time, because other sessions may have a process for it; at once when a
process of ours has nothing to do."""

FEWEST_AHEAD = 4
"""So many tasks are lined up behind one that runs: waiting for us would take them as long as the work."""

MOST_AHEAD = 64
"""So many in all are lined up in workers, where tasks are so brief that even these take no longer than ``BRIEF_S``."""

LONGEST_NAP_S = 0.002
"""So long at most nobody listens to workers that have enough to do."""

SENT_AT_ONCE = 8
"""So many at most go to a worker in one message: the first of them begins when the last is prepared."""


class Pace:
    """How long the tasks of each operation took lately."""

    def __init__(self) -> None:
        self._brief: Counter[str] = Counter()
        """How many tasks of an operation, up to the last one, have been brief."""
        self._mean_s: dict[str, float] = {}

    def note(self, operation: Operation, seconds: float) -> None:
        """Take note of how long a task took."""
        name = operation.name
        self._brief[name] = self._brief[name] + 1 if seconds < BRIEF_S else 0
        self._mean_s[name] = 0.75 * self._mean_s.get(name, seconds) + 0.25 * seconds

    def is_brief(self, operation: Operation) -> bool:
        """Say whether the tasks of an operation are brief."""
        return self._brief[operation.name] >= BRIEF_ONES and not operation.is_batched

    def count(self, operation: Operation) -> int:
        """Return how many tasks of a brief operation take no longer than one that is just brief."""
        return int(BRIEF_S / max(self._mean_s[operation.name], 1e-6))

    def nap_s(self, operation: Operation, in_line: int) -> float:
        """Return how long nobody need look after tasks in line: half of what they take, if they are as those before."""
        return min(LONGEST_NAP_S, in_line / 2 * self._mean_s.get(operation.name, 0.0))


class Lining:
    """Lines up brief tasks and takes them back.

    Parameters
    ----------
    candidates
        Where the tasks come from and go back to.
    attempts, launcher
        Make work of them, and give it its process.
    plan
        Knows which conditions say what they read.
    refuses
        Takes care of a claimed task that must not begin; False for the others.
    """

    def __init__(
        self,
        candidates: Candidates,
        attempts: Attempts,
        launcher: Launcher,
        plan: Plan,
        refuses: Callable[[Task], bool],
    ) -> None:
        self._candidates = candidates
        self._attempts = attempts
        self._launcher = launcher
        self._plan = plan
        self._refuses = refuses
        self.pace = Pace()

    def fill(self, works: Collection[Work]) -> None:
        """Choose what the processes at brief tasks do next."""
        for work in works:
            process = work.process
            while (room := self._room_behind(work, len(works))) > 0:
                followers = self._followers(work, min(room, SENT_AT_ONCE))
                if not followers:
                    break
                if isinstance(process, Worker):
                    for follower in followers:
                        follower.grant = work.grant
                        self._attempts.start(follower)
                    self._launcher.launch_behind(followers, process)
                work.ahead += followers

    def advance(self, work: Work) -> Work | None:
        """Let what stands behind an ended piece of work begin, and return it; None when nothing does."""
        if isinstance(work.process, Worker) and not work.process.is_alive:
            self.recall(work)
        if not work.ahead:
            return None
        follower, *follower.ahead = work.ahead
        work.ahead, follower.grant, work.grant = [], work.grant, NOTHING
        if not isinstance(work.process, Worker):
            self._attempts.start(follower)
            self._launcher.launch(follower)
        return follower

    def recall(self, work: Work) -> None:
        """Take back what stands behind a piece of work and has not begun."""
        if not work.ahead:
            return
        process = work.process
        count = process.take_back() if isinstance(process, Worker) else len(work.ahead)
        followers = [work.ahead.pop() for _ in range(count)]
        self._attempts.withdraw(followers)
        for follower in followers:
            for task in follower.tasks.values():
                self._candidates.put_back(task)

    def nap_s(self, works: Iterable[Work]) -> float:
        """Return how long nobody need listen to pieces of work, because enough stands behind each of them.

        To be woken at each end costs us and the worker, which is held up, more than to take note of several at once.
        """
        naps = (self.pace.nap_s(w.operation, len(w.ahead)) if isinstance(w.process, Worker) else 0.0 for w in works)
        return min(naps, default=0.0)

    def is_due(self, work: Work, *, is_idle: bool) -> bool:
        """Say whether a piece of work takes so long that nothing should wait behind it any more.

        Parameters
        ----------
        is_idle
            Whether a process of ours has nothing to do.
        """
        return bool(work.ahead) and time.monotonic() - work.began > (BRIEF_S if is_idle else PATIENCE_S)

    def _room_behind(self, work: Work, running: int) -> int:
        is_late = work.timed_out_after is not None or time.monotonic() - work.began >= BRIEF_S
        if is_late or not self._candidates.may_take or not self.pace.is_brief(work.operation):
            return 0
        most = min(self.pace.count(work.operation), MOST_AHEAD // running) if isinstance(work.process, Worker) else 0
        return max(most, FEWEST_AHEAD) - len(work.ahead)

    def _followers(self, work: Work, most: int) -> list[Work]:
        followers: list[Work] = []
        while len(followers) < most and self._candidates.may_take:
            task = self._candidates.take_first(lambda task: self._may_follow(task, work))
            if task is None or self._refuses(task):
                break
            self._candidates.note_begun([task])
            follower = self._attempts.prepare([task])
            follower.was_ahead = True
            followers.append(follower)
        return followers

    def _may_follow(self, task: Task, work: Work) -> bool:
        operation = task.operation
        return (
            operation is work.operation
            and operation.aggregator.is_single
            and self._launcher.go_alike(task, next(iter(work.tasks.values())))
            and self._plan.facts.are_declared((*operation.pre, *operation.post))
        )
