"""Run tasks on this machine: the loop that starts what is eligible and follows it to its end.

There is no barrier between operations: when a task ends, those that waited for it may start. The loop claims a task,
asks its conditions once more, records the attempt, starts a process, and judges the task by its post-conditions when
the process has ended. It prints nothing; whoever wants to see reads along as an :class:`Observer`.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal as signals
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from pointillist.errors import PointillistError
from pointillist.execution.commands import SESSION_VARIABLE
from pointillist.execution.launch import Launcher
from pointillist.execution.machine import NOTHING, Needs
from pointillist.execution.processes import Ended, NoProcess, Process
from pointillist.execution.ready import ReadyTasks
from pointillist.execution.requeues import WARNING, earlier_starts, has_stopped, is_warned, most_requeues, spent
from pointillist.execution.stops import Stops
from pointillist.execution.terms import Observer, Rules, Summary
from pointillist.execution.work import Work
from pointillist.execution.workers import Worker
from pointillist.state.journal import Attempt, JournalWriter, Outcome
from pointillist.state.place import SUBMISSION_VARIABLE, Place, warned_from
from pointillist.state.plan import Plan, State, Task
from pointillist.state.sessions import Sessions

TICK_S = 0.1
"""How often output is passed on and batches are looked at; the ends of processes are noticed at once."""

LAST_WORDS_S = 5.0
"""How long a process whose time is up may take to end before it is killed."""

LONGEST_PAUSE_S = 60.0
"""Before a task is tried again the run waits 1, 2, 4, ... seconds, and never longer than this."""

BRIEF_S = 0.05
"""Tasks of an operation of which several, one after the other, took no longer than this are lined up."""

BRIEF_ONES = 3
"""So many of them."""

PATIENCE_S = 0.5
"""What stands in line is taken back after this time, because other sessions may have a process for it; at once when a
process of ours has nothing to do."""

AHEAD = 4
"""So many tasks are lined up behind one that runs: waiting for us would take them as long as the work."""


class LocalRun:
    """One run on this machine.

    Parameters
    ----------
    plan
        What there is to do.
    sessions
        Where to claim tasks.
    root
        The project folder; commands run in it.
    state_folder
        The folder of the engine's files.
    rules
        How to go about it.
    entrypoint
        How a shell runs the project file, for operations that need a process of their own.
    wants
        Says which tasks belong to this run.
    observer
        Reads along.
    """

    def __init__(
        self,
        plan: Plan,
        sessions: Sessions,
        *,
        root: str,
        state_folder: str,
        rules: Rules,
        entrypoint: Mapping[str, str],
        wants: Callable[[Task], bool] = lambda task: True,
        observer: Observer | None = None,
    ) -> None:
        self._plan = plan
        self._sessions = sessions
        self._root = root
        self._state_folder = state_folder
        self._rules = rules
        self._entrypoint = entrypoint
        self._wants = wants
        self._observer = observer or Observer()
        self._left = rules.num
        self._startable = {State.ELIGIBLE, State.FAILED} if rules.retry_failed else {State.ELIGIBLE}
        self._ready = ReadyTasks(list(plan.definition.operations.values()), rules.priority)
        self._ends: Counter[tuple[str, str]] = Counter()
        """How often each task has ended in this run, and that is the end of it."""
        self._failures: Counter[tuple[str, str]] = Counter()
        self._last_attempt: dict[tuple[str, str], Attempt] = {}
        self._refused: set[tuple[str, str]] = set()
        self._paused: list[tuple[float, int, Task]] = []
        self._running: dict[Process, Work] = {}
        self._handles: dict[Process, int] = {}
        """Where the selector looks for news of each process."""
        self._brief: Counter[str] = Counter()
        """How many tasks of an operation, up to the last one, have been brief."""
        self._next_look = 0.0
        self._summary = Summary()
        self._stops = Stops()
        self._gives_up = False
        self._warned_from = warned_from()
        self._place = Place.here()
        self._numbers = itertools.count(1)

    def execute(self) -> Summary:
        """Run until nothing is eligible, and say what became of it."""
        self._sessions.sweep()
        self._session = self._sessions.open()
        self._journal = JournalWriter(self._plan.journal, self._session)
        self._launcher = Launcher(
            self._plan,
            self._session,
            root=self._root,
            state_folder=self._state_folder,
            rules=self._rules,
            entrypoint=self._entrypoint,
        )
        self._selector = selectors.DefaultSelector()
        # Commands that come back to this project know by it that their task is claimed already.
        os.environ[SESSION_VARIABLE] = self._session.id
        try:
            with contextlib.nullcontext() if self._rules.inline else self._stops.noted(self._selector):
                self._consider(self._plan.tasks_in(self._startable))
                while self._go_on():
                    self._wait()
        finally:
            self._shut_down()
        for _, _, task in self._paused:
            self._summary.failed.append((task, self._last_attempt[task.key]))
        self._summary.was_interrupted = self._stops.count > 0
        self._summary.elsewhere = [task for task in self._plan.tasks_in({State.RUNNING}) if self._wants(task)]
        return self._summary

    # Choosing and starting

    def _go_on(self) -> bool:
        """Start what can be started; False when there is nothing left to wait for."""
        self._wake_paused()
        while not self._is_stopping and len(self._running) < self._rules.slots and self._left != 0:
            tasks = self._next()
            if not tasks:
                break
            self._start(tasks)
        if self._running:
            self._line_up()
            return True
        if self._is_stopping or self._left == 0:
            return False
        if self._paused:
            return True
        # Conditions may read what the engine doesn't know of, and jobs may have come: look once more at everything.
        self._plan.refresh()
        self._ready.clear()
        self._consider(self._plan.tasks_in(self._startable))
        return bool(self._ready)

    @property
    def _is_stopping(self) -> bool:
        return self._stops.count > 0 or self._stops.warnings > 0 or self._gives_up

    def _consider(self, tasks: Iterable[Task]) -> None:
        """Note for each task whether it could start now."""
        for task in tasks:
            if not self._wants(task) or self._failures[task.key] or self._ends[task.key] >= self._rules.passes >= 0:
                continue
            if self._plan.state(task) in self._startable:
                self._add_ready(task)
            else:
                self._ready.discard(task)

    def _add_ready(self, task: Task) -> None:
        machine = self._rules.machine
        lack = machine.lacks(self._launcher.needs_of(task)) if machine is not None else ""
        if not lack:
            self._ready.add(task)
        elif task.key not in self._refused:
            self._refused.add(task.key)
            self._summary.too_large.setdefault(lack, []).append(task)

    def _next(self) -> list[Task]:
        """Take the tasks that a free process should work on: claimed, and eligible at this moment."""
        while True:
            taken = self._ready.take(
                self._fits,
                alike=self._launcher.are_alike,
                shares=self._shares,
                weight=self._launcher.weight_of,
                most=self._left,
            )
            claimed = [task for task in taken if self._claim(task) and not self._is_spent(task)]
            if claimed or not taken:
                return claimed

    def _shares(self) -> int:
        """Return how many processes will share the tasks of a batched operation that are ready now."""
        free = self._rules.slots - len(self._running)
        # A process at work on a single task, or on the end of a batch, will soon be free to take its share.
        soon = sum(work.is_nearly_through for work in self._running.values())
        # What a cluster job was given is its own; the other sessions of the project have shares of theirs.
        others = 0 if os.environ.get(SUBMISSION_VARIABLE) else self._sessions.count_alive() - 1
        return free + soon + others

    def _fits(self, task: Task) -> bool:
        return self._rules.machine is None or self._rules.machine.fits(self._launcher.needs_of(task))

    def _claim(self, task: Task) -> bool:
        """Claim a task and make sure that it still has to be done."""
        if not self._sessions.claim(self._session, *task.key):
            self._plan.note_running(task, "another session")
            return False
        # Another run may have finished it between our reading and our claim.
        concerned = self._plan.update(task)
        state = self._plan.state(task)
        if state in self._startable or (state is State.FAILED and self._failures[task.key]):
            return True
        self._sessions.release(*task.key)
        self._consider(concerned)
        return False

    def _starts(self, task: Task) -> int:
        """Count the earlier starts of our cluster job in which a task was begun; 0 outside of one."""
        if self._place is None:
            return 0
        return earlier_starts(self._plan.journal.attempts_at(*task.key), self._place)

    def _is_spent(self, task: Task) -> bool:
        """Give up a claimed task for which its cluster job was put back more often than it allows."""
        try:
            most = most_requeues(self._launcher.directives_of(task))
        except Exception:
            return False  # it fails when it is started, and says why
        count = 0 if most is None else self._starts(task)
        if most is None or count <= most:
            return False
        attempt = self._journal.start(*task.key, log="")
        self._journal.end(attempt, Outcome.FAILED, message=spent(count, most), fingerprint=self._plan.fingerprint(task))
        self._sessions.release(*task.key)
        self._ends[task.key] += 1
        self._summary.add(task, attempt)
        self._observer.ended(task, attempt)
        self._plan.update(task)
        return True

    def _start(self, tasks: list[Task]) -> None:
        work = self._prepared(tasks)
        if self._rules.machine is not None:
            work.grant = self._rules.machine.take(Needs.largest(map(self._launcher.needs_of, tasks)))
        self._record(work)
        self._launcher.launch(work)
        self._begin(work)

    def _prepared(self, tasks: list[Task]) -> Work:
        """Make a piece of work of tasks that were claimed."""
        operation = tasks[0].operation
        for task in tasks:
            self._plan.note_running(task, self._session.id)
        if self._left is not None:
            self._left -= len(tasks)
        batch = f"{self._session.id}-{next(self._numbers)}" if len(tasks) > 1 else None
        log, log_fd = self._launcher.open_log(operation.name, batch or tasks[0].aggregate.id)
        by_id = {task.aggregate.id: task for task in tasks}
        report = f"{log}.report" if operation.is_batched and operation.cmd else None
        work = Work(operation, by_id, {}, log, log_fd, NOTHING, NoProcess(), batch=batch, report=report)
        work.open = set(by_id)
        return work

    def _record(self, work: Work) -> None:
        """Record that tasks are about to begin; nothing begins before that is written."""
        log = os.path.relpath(work.log, self._root)
        for task_id, task in work.tasks.items():
            work.attempts[task_id] = self._journal.start(*task.key, log=log, batch=work.batch)

    def _begin(self, work: Work) -> None:
        """Take note that a piece of work has its process, and look at it when there is news."""
        work.began = time.monotonic()
        if self._rules.timeout_s is not None:
            work.deadline = work.began + self._rules.timeout_s
        for task in work.tasks.values():
            self._observer.started(task)
        process = work.process
        self._running[process] = work
        handle = process.fileno()
        if handle is None:
            self._follow([work])
        elif process not in self._handles:
            self._handles[process] = handle
            self._selector.register(handle, selectors.EVENT_READ, process)

    def _forget(self, process: Process) -> None:
        """Look at a process no more."""
        if process in self._handles:
            self._selector.unregister(self._handles.pop(process))
        process.release()

    # Lining up brief tasks

    def _line_up(self) -> None:
        """Choose what the processes at brief tasks do next, so that nobody waits for us in between.

        Only tasks of which the engine knows that the ones before don't change whether they may run: tasks on single
        jobs whose conditions say what they read. Each is claimed, and asked its conditions, like any other.
        """
        if self._is_stopping or self._rules.fail_fast or self._rules.inline:
            return
        for work in list(self._running.values()):
            while len(work.ahead) < AHEAD and self._left != 0 and self._is_brief(work):
                task = self._ready.take_first(lambda task, work=work: self._may_follow(task, work))  # type: ignore[misc]
                if task is None or not self._claim(task) or self._is_spent(task):
                    break
                self._put_behind(task, work)

    def _is_brief(self, work: Work) -> bool:
        return (
            self._brief[work.operation.name] >= BRIEF_ONES
            and not work.operation.is_batched
            and time.monotonic() - work.began < BRIEF_S
            and work.timed_out_after is None
        )

    def _may_follow(self, task: Task, work: Work) -> bool:
        operation = task.operation
        return (
            operation is work.operation
            and operation.aggregator.is_single
            and self._launcher.needs_of(task) == self._launcher.needs_of(next(iter(work.tasks.values())))
            and self._plan.facts.are_declared((*operation.pre, *operation.post))
        )

    def _put_behind(self, task: Task, work: Work) -> None:
        follower = self._prepared([task])
        follower.was_ahead = True
        if isinstance(work.process, Worker):
            follower.grant = work.grant
            self._record(follower)
            self._launcher.launch(follower, behind=work.process)
        work.ahead.append(follower)

    @property
    def _patience_s(self) -> float:
        return BRIEF_S if len(self._running) < self._rules.slots else PATIENCE_S

    def _advance(self, work: Work) -> None:
        """Let what stands behind an ended piece of work begin."""
        if self._is_stopping or (isinstance(work.process, Worker) and not work.process.is_alive):
            self._recall(work)
        if not work.ahead:
            return
        follower, *follower.ahead = work.ahead
        work.ahead, follower.grant, work.grant = [], work.grant, NOTHING
        if not isinstance(work.process, Worker):
            self._record(follower)
            self._launcher.launch(follower)
        self._begin(follower)
        if self._stops.count:  # its process may have begun it just before it was told
            follower.process.signal(self._stops.signal)

    def _recall(self, work: Work) -> None:
        """Take back what stands behind a piece of work and has not begun."""
        if work.ahead:
            process = work.process
            self._put_back(work, process.take_back() if isinstance(process, Worker) else len(work.ahead))

    def _put_back(self, work: Work, count: int) -> None:
        """Give up the last of what stands behind a piece of work, as if it had never been chosen."""
        for _ in range(count):
            follower = work.ahead.pop()
            for attempt in follower.attempts.values():
                self._journal.withdraw(attempt)
            if self._left is not None:
                self._left += len(follower.tasks)
            follower.close()
            for task in follower.tasks.values():
                self._sessions.release(*task.key)
                self._plan.note_running(task, None)
                self._consider(self._plan.update(task))

    # Following and judging

    def _wait(self) -> None:
        """Wait for news, at most until the next tick, and take note of them."""
        blind = any(process.fileno() is None for process in self._running)
        events = self._selector.select(0.01 if blind else TICK_S)
        self._stops.calm()
        if self._warned_from is not None and time.time() >= self._warned_from:
            self._stops.warnings += 1
            self._warned_from = None
        if blind or not events or self._stops.warnings or time.monotonic() >= self._next_look:
            self._follow(list(self._running.values()))
            self._session.touch()
            self._observer.tick(running=sum(len(work.open) for work in self._running.values()))
            self._next_look = time.monotonic() + TICK_S
            return
        for key, _ in events:
            if key.data in self._running:
                self._follow([self._running[key.data]])
            elif isinstance(key.data, Worker) and key.data.poll() is not None:  # it has died while it was idle
                self._forget(key.data)
                self._launcher.forget(key.data)

    def _follow(self, works: list[Work]) -> None:
        self._pass_on_stops()
        self._pass_on_warnings()
        for work in works:
            ended = work.process.poll()
            work.pass_output(self._observer.output, everything=ended is not None)
            for task_id, error in work.read_report():
                self._judge(work, task_id, Ended(1, error) if error else Ended(0))
            if ended is not None:
                if not (isinstance(work.process, Worker) and work.process.is_alive):
                    self._forget(work.process)
                del self._running[work.process]
                self._advance(work)
                self._finish(work, ended)
            elif work.is_late:
                self._time_out(work)
            elif work.ahead and time.monotonic() - work.began > self._patience_s:
                self._recall(work)

    def _time_out(self, work: Work) -> None:
        """Ask a process whose time is up to end, and the second time kill it, with all its children."""
        self._recall(work)
        first = work.timed_out_after is None
        work.process.signal(signals.SIGTERM if first else signals.SIGKILL)
        work.timed_out_after = self._rules.timeout_s
        work.deadline = time.monotonic() + LAST_WORDS_S

    def _finish(self, work: Work, ended: Ended) -> None:
        """Judge what is still open of a process that has ended."""
        if ended.usage is not None and len(work.tasks) > 1:
            self._journal.use(list(work.attempts.values()), ended.usage)
        if work.timed_out_after is not None:
            late = f"it took longer than {work.timed_out_after:g} s"
            ended = Ended(ended.exit_code or -signals.SIGTERM, late, ended.usage)
        if work.process not in self._running:
            self._launcher.is_done_with(work.process)
        if self._rules.machine is not None:
            self._rules.machine.give_back(work.grant)
        if ended.was_interrupted and self._rules.inline:
            self._stops.count += 1
        is_brief = time.monotonic() - work.began < BRIEF_S
        self._brief[work.operation.name] = self._brief[work.operation.name] + 1 if is_brief else 0
        died = ended.exit_code != 0 and not self._stops.count
        for task_id in list(work.tasks):
            if task_id not in work.open:
                continue
            if died and work.reached and task_id not in work.reached and not self._is_complete(work.tasks[task_id]):
                # The process never came to it: another one may.
                self._close(work, task_id, Outcome.INTERRUPTED, ended, "the batch ended before it came to this task")
            else:
                self._judge(work, task_id, ended)
        work.close()

    def _judge(self, work: Work, task_id: str, ended: Ended) -> None:
        """Decide by its post-conditions how a task ended, and record it."""
        task = work.tasks[task_id]
        self._plan.update(task)
        try:
            lost = self._plan.lost(task)
            if lost is not None and ended.exit_code == 0:
                outcome, message = Outcome.ENDED, str(lost)
            elif lost is None and self._plan.is_complete(task):
                outcome, message = Outcome.COMPLETED, ""
            elif work.is_warned and has_stopped(ended.exit_code):
                outcome, message = self._stopped_in_time(task)
            elif ended.exit_code == 0:
                unmet = [str(c) for c in task.operation.post if not self._plan.facts.holds(c, task.aggregate)]
                outcome = Outcome.ENDED
                message = f"it ended well, but its post-condition does not hold: {unmet[0]}" if unmet else ""
            elif self._stops.count:
                outcome, message = Outcome.INTERRUPTED, "stopped by the user"
            else:
                outcome, message = Outcome.FAILED, ended.in_words()
        except PointillistError as error:
            outcome, message = Outcome.FAILED, str(error)
        self._close(work, task_id, outcome, ended, message)

    def _stopped_in_time(self, task: Task) -> tuple[Outcome, str]:
        """Decide about a task that has stopped because the time of its cluster job is nearly up."""
        most = most_requeues(self._launcher.directives_of(task))
        count = self._starts(task)
        if most is not None and self._place is not None and count >= most:
            return Outcome.FAILED, f"it ran short of time; {spent(count, most)}"
        self._summary.goes_on = True
        return Outcome.INTERRUPTED, "it stopped because the time of its cluster job was nearly up, to go on later"

    def _is_complete(self, task: Task) -> bool:
        try:
            return self._plan.is_complete(task)
        except PointillistError:
            return False

    def _close(self, work: Work, task_id: str, outcome: Outcome, ended: Ended, message: str) -> None:
        """Record how a task ended, and look at what may start because of it."""
        task, attempt = work.tasks[task_id], work.attempts[task_id]
        work.open.discard(task_id)
        if work.operation.cmd and work.operation.hooks:
            try:
                is_bad = outcome in (Outcome.FAILED, Outcome.INTERRUPTED)
                error = subprocess.CalledProcessError(ended.exit_code, message) if is_bad else None
                work.operation.hooks.end(work.operation.name, error, *self._launcher.jobs(task))
            except Exception as error:
                outcome, message = Outcome.FAILED, f"a hook raised {type(error).__name__}: {error}"
        fingerprint = self._plan.fingerprint(task) if outcome is Outcome.FAILED else ""
        usage = ended.usage if len(work.tasks) == 1 else None
        self._journal.end(
            attempt,
            outcome,
            exit_code=ended.exit_code,
            message=message,
            fingerprint=fingerprint,
            usage=usage,
            began=ended.began if work.was_ahead else None,
        )
        self._sessions.release(*task.key)
        self._plan.note_running(task, None)
        if outcome is Outcome.FAILED and self._may_retry(task):
            self._last_attempt[task.key] = attempt
            self._pause(task)
        elif outcome is not Outcome.INTERRUPTED or self._stops.count or self._stops.warnings:
            self._ends[task.key] += 1
            self._failures.pop(task.key, None)
            self._summary.add(task, attempt)
            self._gives_up |= self._rules.fail_fast and outcome is Outcome.FAILED
        self._observer.ended(task, attempt)
        self._consider(self._plan.update(task))

    def _may_retry(self, task: Task) -> bool:
        allowed = task.operation.retries if self._rules.retries is None else self._rules.retries
        return not self._is_stopping and self._failures[task.key] < allowed

    def _pause(self, task: Task) -> None:
        """Try a failed task again, after a pause that doubles each time."""
        self._failures[task.key] += 1
        pause = min(2.0 ** (self._failures[task.key] - 1), LONGEST_PAUSE_S)
        heapq.heappush(self._paused, (time.monotonic() + pause, next(self._numbers), task))

    def _wake_paused(self) -> None:
        while self._paused and self._paused[0][0] <= time.monotonic():
            task = heapq.heappop(self._paused)[2]
            self._add_ready(task)

    # Stopping

    def _pass_on_stops(self) -> None:
        """Ask all that runs to end, and the second time kill it."""
        for again in self._stops.news():
            for work in self._running.values():
                self._recall(work)
                work.process.signal(signals.SIGKILL if again else self._stops.signal)
            running = sum(len(work.open) for work in self._running.values())
            self._observer.interrupted(running=running, again=again)

    def _pass_on_warnings(self) -> None:
        """Tell what runs, and wants to know it, that the time of the cluster job is nearly up."""
        if not self._stops.warnings:
            return
        for work in self._running.values():
            self._recall(work)
            if not work.is_warned and is_warned(self._launcher.directives_of(next(iter(work.tasks.values())))):
                work.is_warned = True
                work.process.signal(WARNING)

    def _shut_down(self) -> None:
        """Leave nothing running and nothing claimed, also after an error of our own."""
        os.environ.pop(SESSION_VARIABLE, None)
        for work in self._running.values():
            self._recall(work)
            work.process.signal(signals.SIGKILL)
            for left in (work, *work.ahead):
                for task_id in list(left.open):
                    self._close(left, task_id, Outcome.INTERRUPTED, Ended(-signals.SIGKILL), "the run ended before it")
                left.close()
        self._launcher.close()
        self._selector.close()
        self._journal.close()
        self._session.close()
