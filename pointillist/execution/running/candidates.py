"""Which tasks a run may start: those it is to do, that can start now, that fit on this machine, and nobody else has.

Owns the claims, passes, retries with their pauses, and the number of tasks that are still to be started. Starts
nothing.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable

from pointillist.definition.graph import depths
from pointillist.execution.running.launch import Launcher
from pointillist.execution.running.ready import ReadyTasks
from pointillist.execution.running.terms import Rules
from pointillist.state.journal import Attempt, Outcome
from pointillist.state.plan import Plan
from pointillist.state.sessions import Session, Sessions
from pointillist.state.tasks import State, Task, TaskKey

LONGEST_PAUSE_S = 60.0
"""Before a task is tried again the run waits 1, 2, 4, ... seconds, and never longer than this."""


class Candidates:
    """The tasks that a run may start.

    Parameters
    ----------
    plan
        What there is to do.
    sessions, session
        Where to claim tasks, and for whom.
    launcher
        Says what tasks need.
    rules
        As the run was told.
    wants
        Says which tasks belong to this run.
    """

    def __init__(
        self,
        plan: Plan,
        sessions: Sessions,
        session: Session,
        launcher: Launcher,
        rules: Rules,
        wants: Callable[[Task], bool],
    ) -> None:
        self._plan = plan
        self._sessions = sessions
        self._session = session
        self._launcher = launcher
        self._rules = rules
        self._wants = wants
        self._left = rules.num
        self._startable = {State.ELIGIBLE, State.FAILED} if rules.retry_failed else {State.ELIGIBLE}
        self._ready = ReadyTasks(list(plan.definition.operations.values()), rules.priority, depths(plan.definition))
        self._ends: Counter[TaskKey] = Counter()
        """How often each task has ended in this run, and that is the end of it."""
        self._failures: Counter[TaskKey] = Counter()
        self._refused: set[TaskKey] = set()
        self._paused: list[tuple[float, int, Task, Attempt]] = []
        self._numbers = itertools.count()
        self.too_large: dict[str, list[Task]] = {}
        """Tasks that can't run on this machine, by the reason."""

    @property
    def may_take(self) -> bool:
        """Whether the run was told to start any more."""
        return self._left != 0

    @property
    def paused(self) -> list[tuple[Task, Attempt]]:
        """The tasks that will be tried again, each with the attempt that failed."""
        return [(task, attempt) for _, _, task, attempt in self._paused]

    def look(self) -> bool:
        """Note of all tasks whether they could start; say whether any could."""
        self._ready.clear()
        self.consider(self._plan.tasks_in(self._startable))
        return bool(self._ready)

    def consider(self, tasks: Iterable[Task]) -> None:
        """Note for each task whether it could start now."""
        for task in tasks:
            key = task.key
            if not self._wants(task) or self._failures[key] or self._is_through(key):
                continue
            if self._plan.state(task) in self._startable:
                self._add(task)
            else:
                self._ready.discard(task)

    def take(self, shares: Callable[[], int]) -> list[Task]:
        """Take the tasks that a free process should work on: claimed, and eligible at this moment.

        Parameters
        ----------
        shares
            Says how many processes will share the tasks of a batched operation.
        """
        while True:
            taken = self._ready.take(
                self._fits,
                alike=self._launcher.are_alike,
                shares=shares,
                weight=self._launcher.weight_of,
                most=self._left,
            )
            claimed = [task for task in taken if self._claim(task)]
            if claimed or not taken:
                return claimed

    def take_first(self, accept: Callable[[Task], bool]) -> Task | None:
        """Take the task that comes first if it is acceptable, claimed, and eligible at this moment."""
        task = self._ready.take_first(accept)
        return task if task is not None and self._claim(task) else None

    def note_begun(self, tasks: Iterable[Task]) -> None:
        """Take note that claimed tasks are about to run."""
        for task in tasks:
            self._plan.note_running(task, self._session.id)
            if self._left is not None:
                self._left -= 1

    def follow(self, task: Task, now: Task) -> None:
        """Take note that a task has given its jobs other ids."""
        self._ready.discard(task)
        for counter in (self._ends, self._failures):
            counter[now.key] += counter.pop(task.key, 0)

    def give_back(self, task: Task) -> None:
        """Give back the claim of a task that has ended."""
        self._sessions.release(*task.key)
        self._plan.note_running(task, None)

    def put_back(self, task: Task) -> None:
        """Give up a task that has not begun, as if it had never been taken."""
        if self._left is not None:
            self._left += 1
        self.give_back(task)
        self.consider(self._plan.update(task))

    def note_through(self, task: Task) -> None:
        """Take note that a task has ended, and is not tried again for having failed."""
        self._ends[task.key] += 1
        self._failures.pop(task.key, None)

    def may_retry(self, task: Task) -> bool:
        """Say whether a task that has failed is to be tried again within this run."""
        allowed = task.operation.retries if self._rules.retries is None else self._rules.retries
        return self._failures[task.key] < allowed

    def pause(self, task: Task, attempt: Attempt) -> None:
        """Try a failed task again, after a pause that doubles each time."""
        self._failures[task.key] += 1
        pause = min(2.0 ** (self._failures[task.key] - 1), LONGEST_PAUSE_S)
        heapq.heappush(self._paused, (time.monotonic() + pause, next(self._numbers), task, attempt))

    def wake(self) -> None:
        """Take up again the tasks whose pause is over."""
        while self._paused and self._paused[0][0] <= time.monotonic():
            self._add(heapq.heappop(self._paused)[2])

    def _add(self, task: Task) -> None:
        machine = self._rules.machine
        lack = machine.lacks(self._launcher.needs_of(task)) if machine is not None else ""
        if not lack:
            self._ready.add(task)
        elif task.key not in self._refused:
            self._refused.add(task.key)
            self.too_large.setdefault(lack, []).append(task)

    def _fits(self, task: Task) -> bool:
        return self._rules.machine is None or self._rules.machine.fits(self._launcher.needs_of(task))

    def _claim(self, task: Task) -> bool:
        """Claim a task and make sure that it still has to be done."""
        if not self._sessions.claim(self._session, *task.key):
            self._plan.note_running(task, "another session")
            return False
        # Another run may have brought it to an end between our reading and our claim.
        self._plan.journal.catch_up()
        concerned = self._plan.update(task)
        if self._may_start(task):
            return True
        self._sessions.release(*task.key)
        self.consider(concerned)
        return False

    def _may_start(self, task: Task) -> bool:
        """Say whether a claimed task still has to be done."""
        state = self._plan.state(task)
        if not self._failures[task.key]:
            return state in self._startable and not self._is_through(task.key)
        last = self._plan.journal.last(*task.key)
        is_ours = last is None or last.session == self._session.id or last.outcome is Outcome.FAILED
        return is_ours and state in (State.ELIGIBLE, State.FAILED)

    def _is_through(self, key: TaskKey) -> bool:
        """Say whether a task was brought to an end as often as it should be, by this run or others at the same time."""
        return self._ends[key] + self._plan.journal.ended_elsewhere[key] >= self._rules.passes >= 0
