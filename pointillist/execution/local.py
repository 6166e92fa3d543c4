"""Run tasks on this machine: the loop that starts what is eligible and follows it to its end.

There is no barrier between operations: when a task ends, those that waited for it may start. The loop claims a task,
asks its conditions once more, records the attempt, starts a process, and judges the task by its post-conditions when
the process has ended. It prints nothing; whoever wants to see reads along as an :class:`Observer`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import selectors
import signal as signals
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pointillist.definition.directives import walltime_hours
from pointillist.definition.operations import Operation
from pointillist.errors import PointillistError
from pointillist.execution.batches import share
from pointillist.execution.commands import shell_command
from pointillist.execution.processes import Ended, InlineCall, Process, ShellProcess, Worker
from pointillist.state.journal import Attempt, JournalWriter, Outcome
from pointillist.state.plan import Plan, State, Task
from pointillist.state.sessions import Sessions

TICK_S = 0.1
"""How often output is passed on and batches are looked at; the ends of processes are noticed at once."""

REPORT_VARIABLE = "POINTILLIST_REPORT"
"""A command of a batch finds here the file to append its progress to, as JSON lines with ``folder`` and ``event``."""


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
    interrupted: list[tuple[Task, Attempt]] = field(default_factory=list)
    elsewhere: list[Task] = field(default_factory=list)
    """Another process is at work on them."""
    was_interrupted: bool = False

    @property
    def started(self) -> int:
        """How many tasks were started and have ended."""
        return len(self.completed) + len(self.ended) + len(self.failed) + len(self.interrupted)

    def add(self, task: Task, attempt: Attempt) -> None:
        """Take note of how a task ended."""
        if attempt.outcome is Outcome.COMPLETED:
            self.completed.append(task)
        elif attempt.outcome is Outcome.ENDED:
            self.ended.append((task, attempt))
        elif attempt.outcome is Outcome.FAILED:
            self.failed.append((task, attempt))
        else:
            self.interrupted.append((task, attempt))


@dataclass
class _Work:
    """Tasks that one process works through, with what is known of each."""

    operation: Operation
    tasks: dict[str, Task]
    attempts: dict[str, Attempt]
    log: str
    process: Process
    report: str | None = None
    report_read: int = 0
    log_read: int = 0
    reached: set[str] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    """Ids of the aggregates that have not ended yet."""


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
    slots
        How many processes at once.
    wants
        Says which tasks belong to this run.
    num
        How many tasks to start at most.
    retry_failed
        Whether to try failed tasks again.
    inline
        Make Python calls in this process instead of in workers (``slots`` is then 1).
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
        slots: int = 1,
        wants: Callable[[Task], bool] = lambda task: True,
        num: int | None = None,
        retry_failed: bool = False,
        inline: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self._plan = plan
        self._sessions = sessions
        self._root = root
        self._state_folder = state_folder
        self._slots = slots
        self._wants = wants
        self._left = num
        self._startable = {State.ELIGIBLE, State.FAILED} if retry_failed else {State.ELIGIBLE}
        self._inline = inline
        self._observer = observer or Observer()
        self._order = {name: number for number, name in enumerate(plan.definition.operations)}
        self._ready: dict[str, dict[str, Task]] = {name: {} for name in plan.definition.operations}
        self._tried: set[tuple[str, str]] = set()
        self._running: list[_Work] = []
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []
        self._summary = Summary()
        self._stops = 0
        self._numbers = itertools.count(1)

    def execute(self) -> Summary:
        """Run until nothing is eligible, and say what became of it."""
        self._sessions.sweep()
        self._session = self._sessions.open()
        self._journal = JournalWriter(self._plan.journal, self._session)
        self._selector = selectors.DefaultSelector()
        try:
            with self._signals():
                self._consider(self._plan.tasks())
                while self._go_on():
                    self._wait()
        finally:
            self._shut_down()
        self._summary.was_interrupted = self._stops > 0
        self._summary.elsewhere = [
            task for task in self._plan.tasks() if self._wants(task) and self._plan.state(task) is State.RUNNING
        ]
        return self._summary

    def _go_on(self) -> bool:
        """Start what can be started; False when there is nothing left to wait for."""
        while self._stops == 0 and len(self._running) < self._slots and self._left != 0:
            tasks = self._next()
            if not tasks:
                break
            self._start(tasks)
            self._follow()
        if self._running:
            return True
        if self._stops or self._left == 0:
            return False
        # Conditions may read what the engine doesn't know of, and jobs may have come: look once more at everything.
        self._plan.refresh()
        for ready in self._ready.values():
            ready.clear()
        self._consider(self._plan.tasks())
        return any(self._ready.values())

    def _consider(self, tasks: Iterable[Task]) -> None:
        """Note for each task whether it could start now."""
        for task in tasks:
            ready = self._ready[task.operation.name]
            if task.key in self._tried or not self._wants(task):
                continue
            if self._plan.state(task) in self._startable:
                ready[task.aggregate.id] = task
            else:
                ready.pop(task.aggregate.id, None)

    def _next(self) -> list[Task]:
        """Take the tasks that a free process should work on: claimed, and eligible at this moment."""
        while True:
            names = [name for name, ready in self._ready.items() if ready]
            if not names:
                return []
            # Single tasks first, the furthest along of a job before the others; then batches, so that they are full.
            name = max(names, key=lambda n: (not self._operation(n).is_batched, self._order[n] * self._sign(n)))
            taken = self._batch(name) if self._operation(name).is_batched else [next(iter(self._ready[name].values()))]
            for task in taken:
                del self._ready[name][task.aggregate.id]
            claimed = [task for task in taken[: self._left] if self._claim(task)]
            if claimed:
                return claimed

    def _sign(self, name: str) -> int:
        return -1 if self._operation(name).is_batched else 1

    def _operation(self, name: str) -> Operation:
        return self._plan.definition.operations[name]

    def _batch(self, name: str) -> list[Task]:
        tasks = list(self._ready[name].values())
        free = self._slots - len(self._running)
        # A process at work on a single task, or on the end of a batch, will soon be free to take its share.
        soon = sum(4 * len(work.open) <= len(work.tasks) or not work.operation.is_batched for work in self._running)
        others = self._sessions.count_alive() - 1
        operation = self._operation(name)
        return share(tasks, [self._weight(t) for t in tasks], free + soon + others, operation.max_batch)

    def _weight(self, task: Task) -> float:
        walltime = task.operation.directives.get("walltime")
        if walltime is None:
            return 1.0
        if callable(walltime):
            walltime = walltime(*(self._plan.workspace.job(i) for i in task.aggregate.job_ids))
        return walltime_hours(walltime)

    def _claim(self, task: Task) -> bool:
        """Claim a task and make sure that it still has to be done."""
        if not self._sessions.claim(self._session, *task.key):
            self._plan.note_running(task, "another session")
            return False
        # Another run may have finished it between our reading and our claim.
        concerned = self._plan.update(task)
        if self._plan.state(task) in self._startable:
            return True
        self._sessions.release(*task.key)
        self._consider(concerned)
        return False

    def _start(self, tasks: list[Task]) -> None:
        operation = tasks[0].operation
        for task in tasks:
            self._tried.add(task.key)
            self._plan.note_running(task, self._session.id)
            self._observer.started(task)
        if self._left is not None:
            self._left -= len(tasks)
        name = f"{self._session.id}-{next(self._numbers)}" if len(tasks) > 1 else tasks[0].aggregate.id
        log = os.path.join(self._state_folder, "logs", quote(operation.name, safe=""), f"{name}.log")
        if len(tasks) == 1:
            log = _fresh(log)
        os.makedirs(os.path.dirname(log), exist_ok=True)
        batch = name if len(tasks) > 1 else None
        relative = os.path.relpath(log, self._root)
        attempts = {t.aggregate.id: self._journal.start(*t.key, log=relative, batch=batch) for t in tasks}
        report = f"{log}.report" if operation.is_batched and operation.cmd else None
        work = _Work(operation, {t.aggregate.id: t for t in tasks}, attempts, log, _NoProcess(), report)
        work.open = set(work.tasks)
        try:
            work.process = self._process(work)
        except Exception as error:
            with open(log, "a", encoding="utf-8") as file:
                file.write(f"{type(error).__name__}: {error}\n")
            work.process = _NoProcess(Ended(1, f"{type(error).__name__}: {error}"))
        self._running.append(work)
        handle = work.process.fileno()
        if handle is not None:
            self._selector.register(handle, selectors.EVENT_READ, work)

    def _process(self, work: _Work) -> Process:
        job_ids = [i for task in work.tasks.values() for i in task.aggregate.job_ids]
        if work.operation.cmd:
            command = shell_command(work.operation, [self._plan.workspace.job(i) for i in job_ids])
            env = {REPORT_VARIABLE: work.report} if work.report else {}
            return ShellProcess(command, log=work.log, cwd=self._root, env=env, keep_fd=self._session.lock_fd)
        if self._inline:
            return InlineCall(lambda: self._call(work.operation.name, *job_ids), log=work.log)
        worker = self._idle.pop() if self._idle else self._new_worker()
        worker.call(work.log, work.operation.name, *job_ids)
        return worker

    def _new_worker(self) -> Worker:
        close = [handle for worker in self._workers if (handle := worker.fileno()) is not None]
        worker = Worker(self._call, close_fds=close, cwd=self._root)
        self._workers.append(worker)
        return worker

    def _call(self, name: str, *job_ids: str) -> None:
        """Do a Python operation."""
        operation = self._operation(name)
        jobs = [self._plan.workspace.job(i) for i in job_ids]
        with jobs[0] if operation.with_job else contextlib.nullcontext():
            operation.function(*jobs)

    def _wait(self) -> None:
        """Wait for news, at most until the next tick, and take note of them."""
        blind = any(work.process.fileno() is None for work in self._running)
        self._selector.select(0.01 if blind else TICK_S)
        if self._wakeup is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._wakeup, 4096)
        self._follow()
        self._session.touch()
        self._observer.tick(running=sum(len(work.open) for work in self._running))

    def _follow(self) -> None:
        for work in list(self._running):
            handle = work.process.fileno()
            ended = work.process.poll()
            self._pass_output(work, everything=ended is not None)
            for task_id, error in self._read_report(work):
                self._judge(work, task_id, Ended(1, error) if error else Ended(0))
            if ended is not None:
                if handle is not None:
                    self._selector.unregister(handle)
                self._running.remove(work)
                self._finish(work, ended)

    def _finish(self, work: _Work, ended: Ended) -> None:
        """Judge what is still open of a process that has ended."""
        if isinstance(work.process, Worker) and work.process.is_alive:
            self._idle.append(work.process)
        if ended.was_interrupted and self._inline:
            self._stops += 1
        died = ended.exit_code != 0 and not self._stops
        for task_id in list(work.tasks):
            if task_id not in work.open:
                continue
            task = work.tasks[task_id]
            if died and work.reached and task_id not in work.reached and not self._is_complete(task):
                # The process never came to it: another one may.
                self._tried.discard(task.key)
                self._close(work, task_id, Outcome.INTERRUPTED, ended, "the batch ended before it came to this task")
            else:
                self._judge(work, task_id, ended)
        if work.report:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(work.report)

    def _judge(self, work: _Work, task_id: str, ended: Ended) -> None:
        """Decide by its post-conditions how a task ended, and record it."""
        task = work.tasks[task_id]
        self._plan.update(task)
        if self._is_complete(task):
            outcome, message = Outcome.COMPLETED, ""
        elif ended.exit_code == 0:
            unmet = [str(c) for c in task.operation.post if not self._plan.facts.holds(c, task.aggregate)]
            outcome = Outcome.ENDED
            message = f"it ended well, but its post-condition does not hold: {unmet[0]}" if unmet else ""
        elif self._stops:
            outcome, message = Outcome.INTERRUPTED, "stopped by the user"
        else:
            outcome, message = Outcome.FAILED, ended.in_words()
        self._close(work, task_id, outcome, ended, message)

    def _is_complete(self, task: Task) -> bool:
        try:
            return self._plan.is_complete(task)
        except PointillistError:
            return False

    def _close(self, work: _Work, task_id: str, outcome: Outcome, ended: Ended, message: str) -> None:
        task, attempt = work.tasks[task_id], work.attempts[task_id]
        work.open.discard(task_id)
        fingerprint = self._plan.fingerprint(task) if outcome is Outcome.FAILED else ""
        self._journal.end(attempt, outcome, exit_code=ended.exit_code, message=message, fingerprint=fingerprint)
        self._sessions.release(*task.key)
        self._plan.note_running(task, None)
        if task.key in self._tried:
            self._summary.add(task, attempt)
        self._observer.ended(task, attempt)
        self._consider(self._plan.update(task))

    def _read_report(self, work: _Work) -> Iterator[tuple[str, str]]:
        """Yield the id and the error, if any, of each task that a batch reports as ended."""
        if work.report is None:
            return
        try:
            with open(work.report, "rb") as file:
                file.seek(work.report_read)
                text = file.read()
        except FileNotFoundError:
            return
        whole = text[: text.rfind(b"\n") + 1]
        work.report_read += len(whole)
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                task_id = os.path.basename(os.path.normpath(record["folder"]))
                event, error = record["event"], record.get("error") or ""
            except (ValueError, KeyError, TypeError):
                continue
            if task_id in work.open:
                work.reached.add(task_id)
                if event == "end":
                    yield task_id, str(error)

    def _pass_output(self, work: _Work, *, everything: bool) -> None:
        """Pass on what a process has printed, in whole lines."""
        if self._inline and not work.operation.cmd:
            return
        try:
            with open(work.log, "rb") as file:
                file.seek(work.log_read)
                while chunk := file.read(1 << 20):
                    if not (everything or chunk.endswith(b"\n")):
                        chunk = chunk[: chunk.rfind(b"\n") + 1]
                        if not chunk:
                            break
                        file.seek(work.log_read + len(chunk))
                    work.log_read += len(chunk)
                    self._observer.output(chunk)
        except FileNotFoundError:
            return

    def _stop(self, number: int, _frame: Any) -> None:
        self._stops += 1
        again = self._stops > 1
        for work in self._running:
            work.process.signal(signals.SIGKILL if again else number)
        self._observer.interrupted(running=sum(len(work.open) for work in self._running), again=again)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn signals into a wish to stop, while the loop runs in the main thread of a program."""
        self._wakeup: int | None = None
        if self._inline or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._wakeup, write = os.pipe()
        os.set_blocking(self._wakeup, False)
        os.set_blocking(write, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        previous_fd = signals.set_wakeup_fd(write, warn_on_full_buffer=False)
        previous = {n: signals.signal(n, self._stop) for n in (signals.SIGINT, signals.SIGTERM, signals.SIGHUP)}
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
        for work in self._running:
            work.process.signal(signals.SIGKILL)
            for task_id in list(work.open):
                self._close(work, task_id, Outcome.INTERRUPTED, Ended(-signals.SIGKILL), "the run ended before it")
        for worker in self._workers:
            worker.close()
        self._selector.close()
        self._journal.close()
        self._session.close()


class _NoProcess:
    """Stands for a process that has not been started, or could not be."""

    def __init__(self, ended: Ended | None = None) -> None:
        self._ended = ended

    def fileno(self) -> int | None:
        return None

    def poll(self) -> Ended | None:
        return self._ended

    def signal(self, number: int) -> None:
        return


def _fresh(path: str) -> str:
    """Return a name for a new log: the first attempt's is plain, later ones are numbered."""
    base, number, fresh = path.removesuffix(".log"), 1, path
    while os.path.exists(fresh):
        number += 1
        fresh = f"{base}.{number}.log"
    return fresh
