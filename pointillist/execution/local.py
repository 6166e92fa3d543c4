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
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pointillist.definition.directives import Directives, evaluate
from pointillist.definition.operations import Operation
from pointillist.errors import PointillistError, UserOperationError
from pointillist.execution.commands import SESSION_VARIABLE, command_line, needs_own_process
from pointillist.execution.machine import NOTHING, Needs, threads_of
from pointillist.execution.processes import Ended, InlineCall, NoProcess, Process, ShellProcess, Worker
from pointillist.execution.ready import ReadyTasks
from pointillist.execution.requeues import WARNING, earlier_starts, has_stopped, is_warned, most_requeues, spent
from pointillist.execution.terms import Observer, Rules, Summary
from pointillist.execution.work import REPORT_VARIABLE, Work
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
        self._directives: dict[tuple[str, str], Directives] = {}
        self._paused: list[tuple[float, int, Task]] = []
        self._running: list[Work] = []
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._summary = Summary()
        self._stops = 0
        self._told = 0
        self._stop_signal: int = signals.SIGINT
        self._gives_up = False
        self._warnings = 0
        self._warned_from = warned_from()
        self._place = Place.here()
        self._numbers = itertools.count(1)

    def execute(self) -> Summary:
        """Run until nothing is eligible, and say what became of it."""
        self._sessions.sweep()
        self._session = self._sessions.open()
        self._journal = JournalWriter(self._plan.journal, self._session)
        self._selector = selectors.DefaultSelector()
        # Commands that come back to this project know by it that their task is claimed already.
        os.environ[SESSION_VARIABLE] = self._session.id
        try:
            with self._signals():
                self._consider(self._plan.tasks_in(self._startable))
                while self._go_on():
                    self._wait()
        finally:
            self._shut_down()
        for _, _, task in self._paused:
            self._summary.failed.append((task, self._last_attempt[task.key]))
        self._summary.was_interrupted = self._stops > 0
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
            self._follow()
        if self._running:
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
        return self._stops > 0 or self._warnings > 0 or self._gives_up

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
        lack = machine.lacks(self._needs(task)) if machine is not None else ""
        if lack:
            refused = self._summary.too_large.setdefault(lack, [])
            if task not in refused:
                refused.append(task)
        else:
            self._ready.add(task)

    def _next(self) -> list[Task]:
        """Take the tasks that a free process should work on: claimed, and eligible at this moment."""
        while True:
            taken = self._ready.take(self._fits, shares=self._shares, weight=self._weight, most=self._left)
            claimed = [task for task in taken if self._claim(task) and not self._is_spent(task)]
            if claimed or not taken:
                return claimed

    def _shares(self) -> int:
        """Return how many processes will share the tasks of a batched operation that are ready now."""
        free = self._rules.slots - len(self._running)
        # A process at work on a single task, or on the end of a batch, will soon be free to take its share.
        soon = sum(work.is_nearly_through for work in self._running)
        # What a cluster job was given is its own; the other sessions of the project have shares of theirs.
        others = 0 if os.environ.get(SUBMISSION_VARIABLE) else self._sessions.count_alive() - 1
        return free + soon + others

    def _fits(self, task: Task) -> bool:
        return self._rules.machine is None or self._rules.machine.fits(self._needs(task))

    def _needs(self, task: Task) -> Needs:
        try:
            return Needs.of(self._directives_of(task))
        except Exception:
            return Needs()  # it fails when it is started, and says why

    def _weight(self, task: Task) -> float:
        try:
            walltime = self._directives_of(task)["walltime"]
        except Exception:
            return 1.0
        return 1.0 if walltime is None else float(walltime.total_seconds())

    def _directives_of(self, task: Task) -> Directives:
        """Return what a task asks of the machine; alike for all tasks when no directive is a function of the jobs."""
        declared = task.operation.directives
        key = task.key if any(callable(value) for value in declared.values()) else (task.operation.name, "")
        if key not in self._directives:
            self._directives[key] = evaluate(declared, lambda: tuple(self._jobs(task)), operation=task.operation.name)
        return self._directives[key]

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
            most = most_requeues(self._directives_of(task))
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
        operation = tasks[0].operation
        machine = self._rules.machine
        for task in tasks:
            self._plan.note_running(task, self._session.id)
            self._observer.started(task)
        if self._left is not None:
            self._left -= len(tasks)
        batch = f"{self._session.id}-{next(self._numbers)}" if len(tasks) > 1 else None
        log, log_fd = self._new_log(operation.name, batch or tasks[0].aggregate.id)
        relative = os.path.relpath(log, self._root)
        work = Work(
            operation,
            {t.aggregate.id: t for t in tasks},
            {t.aggregate.id: self._journal.start(*t.key, log=relative, batch=batch) for t in tasks},
            log,
            log_fd,
            machine.take(Needs.largest(map(self._needs, tasks))) if machine is not None else NOTHING,
            NoProcess(),
            report=f"{log}.report" if operation.is_batched and operation.cmd else None,
            deadline=time.monotonic() + self._rules.timeout_s if self._rules.timeout_s is not None else None,
        )
        work.open = set(work.tasks)
        try:
            work.process = self._process(work)
        except Exception as error:
            os.write(log_fd, f"{type(error).__name__}: {error}\n".encode())
            work.process = NoProcess(Ended(1, f"{type(error).__name__}: {error}"))
        self._running.append(work)
        handle = work.process.fileno()
        if handle is not None:
            self._selector.register(handle, selectors.EVENT_READ, work)

    def _new_log(self, operation: str, name: str) -> tuple[str, int]:
        """Make a log; the first attempt's has a plain name, later ones are numbered."""
        folder = os.path.join(self._state_folder, "logs", quote(operation, safe=""))
        for number in itertools.count(1):
            path = os.path.join(folder, f"{name}.log" if number == 1 else f"{name}.{number}.log")
            try:
                return path, os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                return self._new_log(operation, name)
        raise AssertionError("there is always a next number")

    def _process(self, work: Work) -> Process:
        job_ids = [i for task in work.tasks.values() for i in task.aggregate.job_ids]
        directives = self._directives_of(next(iter(work.tasks.values())))
        threads = threads_of(directives)
        # Tasks that share the machine keep to their share; a task alone keeps to what was declared, if anything was.
        limited = self._rules.machine is not None or directives["omp_num_threads"]
        env = work.grant.variables(threads) if limited else {}
        if work.operation.cmd or needs_own_process(work.operation):
            jobs = [self._plan.workspace.job(i) for i in job_ids]
            if work.operation.cmd:
                for task in work.tasks.values():
                    work.operation.hooks.start(work.operation.name, *self._jobs(task))
            command = command_line(work.operation, list(work.tasks), jobs, entrypoint=self._entrypoint)
            if work.report:
                env[REPORT_VARIABLE] = work.report
            return ShellProcess(
                command,
                output=work.log_fd,
                script=f"{work.log}.sh",
                cwd=self._root,
                env=env,
                keep_fd=self._session.lock_fd,
            )
        if self._rules.inline:
            return InlineCall(lambda: self._call(work.operation.name, {}, *job_ids), log=work.log)
        worker = self._idle.pop() if self._idle else self._new_worker()
        worker.call(work.log, work.operation.name, env, *job_ids)
        return worker

    def _new_worker(self) -> Worker:
        close = [handle for worker in self._workers if (handle := worker.fileno()) is not None]
        worker = Worker(self._call, close_fds=close, cwd=self._root)
        self._workers.append(worker)
        return worker

    def _call(self, name: str, env: dict[str, str], *job_ids: str) -> None:
        """Do a Python operation; the environment is as before when the worker takes its next task."""
        operation: Operation = self._plan.definition.operations[name]
        before = {key: os.environ.get(key) for key in env}
        os.environ.update(env)
        try:
            operation.work([self._plan.workspace.job(i) for i in job_ids])
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    def _jobs(self, task: Task) -> list[Any]:
        return [self._plan.workspace.job(i) for i in task.aggregate.job_ids]

    # Following and judging

    def _wait(self) -> None:
        """Wait for news, at most until the next tick, and take note of them."""
        blind = any(work.process.fileno() is None for work in self._running)
        self._selector.select(0.01 if blind else TICK_S)
        if self._warned_from is not None and time.time() >= self._warned_from:
            self._warn(WARNING, None)
            self._warned_from = None
        if self._wakeup is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
        self._follow()
        self._session.touch()
        self._observer.tick(running=sum(len(work.open) for work in self._running))

    def _follow(self) -> None:
        self._pass_on_stops()
        self._pass_on_warnings()
        for work in list(self._running):
            handle = work.process.fileno()
            ended = work.process.poll()
            work.pass_output(self._observer.output, everything=ended is not None)
            for task_id, error in work.read_report():
                self._judge(work, task_id, Ended(1, error) if error else Ended(0))
            if ended is not None:
                if handle is not None:
                    self._selector.unregister(handle)
                self._running.remove(work)
                self._finish(work, ended)
            elif work.is_late:
                self._time_out(work)

    def _time_out(self, work: Work) -> None:
        """Ask a process whose time is up to end, and the second time kill it, with all its children."""
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
        if isinstance(work.process, Worker) and work.process.is_alive:
            self._idle.append(work.process)
        if self._rules.machine is not None:
            self._rules.machine.give_back(work.grant)
        if ended.was_interrupted and self._rules.inline:
            self._stops += 1
        died = ended.exit_code != 0 and not self._stops
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
            if self._plan.is_complete(task):
                outcome, message = Outcome.COMPLETED, ""
            elif work.is_warned and has_stopped(ended.exit_code):
                outcome, message = self._stopped_in_time(task)
            elif ended.exit_code == 0:
                unmet = [str(c) for c in task.operation.post if not self._plan.facts.holds(c, task.aggregate)]
                outcome = Outcome.ENDED
                message = f"it ended well, but its post-condition does not hold: {unmet[0]}" if unmet else ""
            elif self._stops:
                outcome, message = Outcome.INTERRUPTED, "stopped by the user"
            else:
                outcome, message = Outcome.FAILED, ended.in_words()
        except PointillistError as error:
            outcome, message = Outcome.FAILED, str(error)
        self._close(work, task_id, outcome, ended, message)

    def _stopped_in_time(self, task: Task) -> tuple[Outcome, str]:
        """Decide about a task that has stopped because the time of its cluster job is nearly up."""
        most = most_requeues(self._directives_of(task))
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
                error = UserOperationError(message) if outcome in (Outcome.FAILED, Outcome.INTERRUPTED) else None
                work.operation.hooks.end(work.operation.name, error, *self._jobs(task))
            except Exception as error:
                outcome, message = Outcome.FAILED, f"a hook raised {type(error).__name__}: {error}"
        fingerprint = self._plan.fingerprint(task) if outcome is Outcome.FAILED else ""
        usage = ended.usage if len(work.tasks) == 1 else None
        self._journal.end(
            attempt, outcome, exit_code=ended.exit_code, message=message, fingerprint=fingerprint, usage=usage
        )
        self._sessions.release(*task.key)
        self._plan.note_running(task, None)
        if outcome is Outcome.FAILED and self._may_retry(task):
            self._last_attempt[task.key] = attempt
            self._pause(task)
        elif outcome is not Outcome.INTERRUPTED or self._stops or self._warnings:
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

    def _stop(self, number: int, _frame: Any) -> None:
        # Only noted here: a process that is being started at this moment must hear of it, too.
        self._stops += 1
        self._stop_signal = number

    def _pass_on_stops(self) -> None:
        """Ask all that runs to end, and the second time kill it."""
        while self._told < self._stops:
            self._told += 1
            again = self._told > 1
            for work in self._running:
                work.process.signal(signals.SIGKILL if again else self._stop_signal)
            self._observer.interrupted(running=sum(len(work.open) for work in self._running), again=again)

    def _warn(self, _number: int, _frame: Any) -> None:
        self._warnings += 1

    def _pass_on_warnings(self) -> None:
        """Tell what runs, and wants to know it, that the time of the cluster job is nearly up."""
        if not self._warnings:
            return
        for work in self._running:
            if not work.is_warned and is_warned(self._directives_of(next(iter(work.tasks.values())))):
                work.is_warned = True
                work.process.signal(WARNING)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into a wish to stop, while the loop runs in the main thread of a program."""
        self._wakeup: int | None = None
        if self._rules.inline or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        previous_fd = signals.set_wakeup_fd(write, warn_on_full_buffer=False)
        previous = {n: signals.signal(n, self._stop) for n in (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)}
        previous[WARNING] = signals.signal(WARNING, self._warn)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signals.signal(number, handler)
            signals.set_wakeup_fd(previous_fd)
            os.close(self._wakeup)
            os.close(write)

    def _shut_down(self) -> None:
        """Leave nothing running and nothing claimed, also after an error of our own."""
        os.environ.pop(SESSION_VARIABLE, None)
        for work in self._running:
            work.process.signal(signals.SIGKILL)
            for task_id in list(work.open):
                self._close(work, task_id, Outcome.INTERRUPTED, Ended(-signals.SIGKILL), "the run ended before it")
            work.close()
        for worker in self._workers:
            worker.close()
        self._selector.close()
        self._journal.close()
        self._session.close()
