"""Run tasks on this machine: the loop that starts what is eligible and follows it to its end.

There is no barrier between operations: when a task ends, those that waited for it may start. The loop claims a task,
asks its conditions once more, records the attempt, starts a process, and judges the task by its post-conditions when
the process has ended. It prints nothing; whoever wants to see reads along as an :class:`Observer`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal as signals
import subprocess
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pointillist.execution.commands import SESSION_VARIABLE
from pointillist.execution.moves import present
from pointillist.execution.requeues import WARNING, is_warned
from pointillist.execution.running.attempts import Attempts
from pointillist.execution.running.candidates import Candidates
from pointillist.execution.running.judging import Judge, Verdict
from pointillist.execution.running.launch import Launcher
from pointillist.execution.running.lining import Lining
from pointillist.execution.running.machine import Needs
from pointillist.execution.running.processes import Ended, Process
from pointillist.execution.running.stops import Stops
from pointillist.execution.running.terms import Observer, Rules, Summary
from pointillist.execution.running.work import Work
from pointillist.execution.running.workers import Worker
from pointillist.state.journal import Outcome
from pointillist.state.place import SUBMISSION_VARIABLE, warned_from
from pointillist.state.plan import Plan
from pointillist.state.tasks import State, Task

if TYPE_CHECKING:
    from pointillist.study import Study

TICK_S = 0.1
"""How often output is passed on and batches are looked at; the ends of processes are noticed at once."""

LAST_WORDS_S = 5.0
"""How long a process whose time is up may take to end before it is killed."""


class LocalRun:
    """One run on this machine.

    Parameters
    ----------
    project
        Whose tasks they are: commands run in its folder, and the engine's files are there.
    plan
        What there is to do.
    rules
        How to go about it.
    wants
        Says which tasks belong to this run.
    observer
        Reads along.
    """

    def __init__(
        self,
        project: Study,
        plan: Plan,
        *,
        rules: Rules,
        wants: Callable[[Task], bool] = lambda task: True,
        observer: Observer | None = None,
    ) -> None:
        self._project = project
        self._plan = plan
        self._sessions = project.sessions()
        self._rules = rules
        self._wants = wants
        self._observer = observer or Observer()
        self._running: dict[Process, Work] = {}
        self._handles: dict[Process, int] = {}
        """Where the selector looks for news of each process."""
        self._next_look = 0.0
        self._summary = Summary()
        self._stops = Stops()
        self._gives_up = False
        self._warned_from = warned_from()

    def execute(self) -> Summary:
        """Run until nothing is eligible, and say what became of it."""
        self._sessions.sweep()
        self._session = self._sessions.open()
        self._launcher = Launcher(self._project, self._plan, self._session, self._rules)
        self._candidates = Candidates(
            self._plan, self._sessions, self._session, self._launcher, self._rules, self._wants
        )
        root, state_folder = self._project.path, self._project.state_folder
        self._attempts = Attempts(self._plan, self._session, root=root, state_folder=state_folder)
        self._judge = Judge(self._plan, self._launcher)
        self._lining = Lining(self._candidates, self._attempts, self._launcher, self._plan, self._refuses)
        self._selector = selectors.DefaultSelector()
        # Commands that come back to this project know by it that their task is claimed already.
        os.environ[SESSION_VARIABLE] = self._session.id
        try:
            with contextlib.nullcontext() if self._rules.inline else self._stops.noted(self._selector):
                self._candidates.look()
                while self._go_on():
                    self._wait()
        finally:
            self._shut_down()
        self._summary.failed += self._candidates.paused
        self._summary.too_large = self._candidates.too_large
        self._summary.was_interrupted = self._stops.count > 0
        self._summary.elsewhere = [task for task in self._plan.tasks_in({State.RUNNING}) if self._wants(task)]
        return self._summary

    # Starting

    def _go_on(self) -> bool:
        """Start what can be started; False when there is nothing left to wait for."""
        self._candidates.wake()
        while not self._is_stopping and len(self._running) < self._rules.slots and self._candidates.may_take:
            tasks = self._next()
            if not tasks:
                break
            self._start(tasks)
        if self._running:
            if not (self._is_stopping or self._rules.fail_fast or self._rules.inline):
                self._lining.fill(list(self._running.values()))
            return True
        if self._is_stopping or not self._candidates.may_take:
            return False
        if self._candidates.paused:
            return True
        # Conditions may read what the engine doesn't know of, and jobs may have come: look once more at everything.
        self._plan.refresh()
        return self._candidates.look()

    @property
    def _is_stopping(self) -> bool:
        return self._stops.count > 0 or self._stops.warnings > 0 or self._gives_up

    def _next(self) -> list[Task]:
        """Take the tasks that a free process should work on."""
        while taken := self._candidates.take(self._shares):
            tasks = [task for task in taken if not self._refuses(task)]
            if tasks:
                return tasks
        return []

    def _shares(self) -> int:
        """Return how many processes will share the tasks of a batched operation that are ready now."""
        free = self._rules.slots - len(self._running)
        # A process at work on a single task, or on the end of a batch, will soon be free to take its share.
        soon = sum(work.is_nearly_through for work in self._running.values())
        # What a cluster job was given is its own; the other sessions of the project have shares of theirs.
        others = 0 if os.environ.get(SUBMISSION_VARIABLE) else self._sessions.count_alive() - 1
        return free + soon + others

    def _refuses(self, task: Task) -> bool:
        """Give up a claimed task that must not begin."""
        why = self._judge.refusal(task)
        if not why:
            return False
        attempt = self._attempts.refuse(task, why)
        self._candidates.give_back(task)
        self._candidates.note_through(task)
        self._summary.add(task, attempt)
        self._observer.ended(task, attempt)
        self._plan.update(task)
        return True

    def _start(self, tasks: list[Task]) -> None:
        self._candidates.note_begun(tasks)
        work = self._attempts.prepare(tasks)
        if self._rules.machine is not None:
            work.grant = self._rules.machine.take(Needs.largest(map(self._launcher.needs_of, tasks)))
        self._attempts.start(work)
        self._launcher.launch(work)
        self._begin(work)

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
            self._follow(process)
        elif process not in self._handles:
            self._handles[process] = handle
            self._selector.register(handle, selectors.EVENT_READ, process)

    def _forget(self, process: Process) -> None:
        """Look at a process no more."""
        if process in self._handles:
            self._selector.unregister(self._handles.pop(process))
        process.release()

    # Following

    def _wait(self) -> None:
        """Wait for news, at most until the next tick, and take note of them."""
        if nap_s := self._lining.nap_s(self._running.values()):
            time.sleep(nap_s)
        blind = any(process.fileno() is None for process in self._running)
        events = self._selector.select(0.01 if blind else TICK_S)
        self._stops.calm()
        if self._warned_from is not None and time.time() >= self._warned_from:
            self._stops.warnings += 1
            self._warned_from = None
        if blind or not events or self._stops.warnings or time.monotonic() >= self._next_look:
            self._follow(*self._running)
            self._session.touch()
            self._observer.tick(running=sum(len(work.open) for work in self._running.values()))
            self._next_look = time.monotonic() + TICK_S
            return
        for key, _ in events:
            if key.data in self._running:
                self._follow(key.data)
            elif isinstance(key.data, Worker) and key.data.poll() is not None:  # it has died while it was idle
                self._forget(key.data)
                self._launcher.forget(key.data)

    def _follow(self, *processes: Process) -> None:
        """Take note of what processes have printed, done and said; of several ends of one, of each."""
        self._pass_on_stops()
        self._pass_on_warnings()
        for process in processes:
            while (work := self._running.get(process)) is not None:
                ended = process.poll()
                work.pass_output(self._observer.output, everything=ended is not None)
                for task_id, error in work.read_report():
                    self._end(work, task_id, Ended(1, error) if error else Ended(0))
                if ended is None:
                    self._look_at_clock(work)
                    break
                if not (isinstance(process, Worker) and process.is_alive):
                    self._forget(process)
                del self._running[process]
                self._advance(work)
                self._finish(work, ended)

    def _look_at_clock(self, work: Work) -> None:
        """Ask a process whose time is up to end, and the second time kill it, with all its children."""
        if work.is_late:
            self._lining.recall(work)
            work.process.signal(signals.SIGTERM if work.timed_out_after is None else signals.SIGKILL)
            work.timed_out_after = self._rules.timeout_s
            work.deadline = time.monotonic() + LAST_WORDS_S
        elif self._lining.is_due(work, is_idle=len(self._running) < self._rules.slots):
            self._lining.recall(work)

    def _advance(self, work: Work) -> None:
        """Let what stands behind an ended piece of work begin."""
        if self._is_stopping:
            self._lining.recall(work)
        follower = self._lining.advance(work)
        if follower is not None:
            self._begin(follower)
            if self._stops.count:  # its process may have begun it just before it was told
                follower.process.signal(self._stops.signal)

    def _finish(self, work: Work, ended: Ended) -> None:
        """Record the end of what is still open of a process that has ended."""
        self._attempts.use(work, ended)
        if work.timed_out_after is not None:
            late = f"it took longer than {work.timed_out_after:g} s"
            ended = Ended(ended.exit_code or -signals.SIGTERM, late, ended.usage)
        if work.process not in self._running:
            self._launcher.is_done_with(work.process)
        if self._rules.machine is not None:
            self._rules.machine.give_back(work.grant)
        if ended.was_interrupted and self._rules.inline:
            self._stops.count += 1
        took_s = time.monotonic() - work.began if ended.took_s is None else ended.took_s
        self._lining.pace.note(work.operation, took_s)
        work.moved |= ended.moved
        for task_id in list(work.open):
            self._end(work, task_id, ended)
        self._attempts.close(work)

    def _end(self, work: Work, task_id: str, ended: Ended, verdict: Verdict | None = None) -> None:
        """Record how a task has ended, judged here if need be, and look at what may start because of it."""
        claimed = work.tasks[task_id]
        concerned = self._plan.update(claimed)
        task = present(claimed, work.moved)
        if task != claimed:
            self._candidates.follow(claimed, task)
            concerned += self._plan.update(task)
        if verdict is None:
            verdict = self._judge.verdict(work, task, ended, is_stopped=self._stops.count > 0)
        outcome, message = verdict.outcome, verdict.message
        self._summary.goes_on |= verdict.goes_on
        is_bad = outcome in (Outcome.FAILED, Outcome.INTERRUPTED)
        error = ended.exception if is_bad else None
        if error is None and is_bad and work.command:
            error = subprocess.CalledProcessError(ended.exit_code, work.command)
        if work.operation.cmd and work.operation.hooks:
            try:
                work.operation.hooks.end(work.operation.name, error, *self._launcher.jobs(task))
            except Exception as raised:
                error = raised
                outcome, message = Outcome.FAILED, f"a hook raised {type(error).__name__}: {error}"
            concerned = self._plan.update(task)
        attempt = self._attempts.end(work, task_id, task, outcome, ended, message)
        self._candidates.give_back(claimed)
        if outcome is Outcome.FAILED and not self._is_stopping and self._candidates.may_retry(task):
            self._candidates.pause(task, attempt)
        elif outcome is not Outcome.INTERRUPTED or self._stops.count or self._stops.warnings:
            self._candidates.note_through(task)
            self._summary.add(task, attempt)
            if error is not None:
                self._summary.exceptions[task.key] = error
            self._gives_up |= self._rules.fail_fast and outcome is Outcome.FAILED
        self._observer.ended(task, attempt)
        self._candidates.consider(concerned)

    # Stopping

    def _pass_on_stops(self) -> None:
        """Ask all that runs to end, and the second time kill it."""
        for again in self._stops.news():
            for work in self._running.values():
                self._lining.recall(work)
                work.process.signal(signals.SIGKILL if again else self._stops.signal)
            running = sum(len(work.open) for work in self._running.values())
            self._observer.interrupted(running=running, again=again)

    def _pass_on_warnings(self) -> None:
        """Tell what runs, and wants to know it, that the time of the cluster job is nearly up."""
        if not self._stops.warnings:
            return
        for work in self._running.values():
            self._lining.recall(work)
            if not work.is_warned and is_warned(self._launcher.directives_of(next(iter(work.tasks.values())))):
                work.is_warned = True
                work.process.signal(WARNING)

    def _shut_down(self) -> None:
        """Leave nothing running and nothing claimed, also after an error of our own."""
        os.environ.pop(SESSION_VARIABLE, None)
        # Whatever can't be written any more: all that runs is stopped, and all that is open is closed.
        with contextlib.ExitStack() as last:
            for close in (self._session.close, self._attempts.close_all, self._selector.close, self._launcher.close):
                last.callback(close)
            for work in self._running.values():
                work.process.signal(signals.SIGKILL)
            for work in self._running.values():
                self._lining.recall(work)
                for left in (work, *work.ahead):
                    for task_id in list(left.open):
                        verdict = Verdict(Outcome.INTERRUPTED, "the run ended before it")
                        self._end(left, task_id, Ended(-signals.SIGKILL), verdict)
                    self._attempts.close(left)
