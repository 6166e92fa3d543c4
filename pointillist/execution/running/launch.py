"""How a piece of work becomes a process: what its tasks need, its command or call, its worker."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pointillist.definition.directives import Directives
from pointillist.definition.operations import Operation
from pointillist.execution.commands import directives_of, needs_own_process
from pointillist.execution.job_operations import JobOperation
from pointillist.execution.moves import new_ids
from pointillist.execution.prefixes import any_has_own
from pointillist.execution.running.machine import Needs, threads_of
from pointillist.execution.running.processes import Ended, NoProcess, Process, ShellProcess
from pointillist.execution.running.terms import Rules
from pointillist.execution.running.work import REPORT_VARIABLE, Work
from pointillist.execution.running.workers import InlineCall, Worker
from pointillist.state.plan import Plan
from pointillist.state.sessions import Session
from pointillist.state.tasks import Task

if TYPE_CHECKING:
    from pointillist.study import Study


class Launcher:
    """Starts what the loop of a run has decided to start.

    Parameters
    ----------
    project
        Whose folder commands run in, and whose environment says what goes before them.
    plan
        Where the jobs of a task are.
    session
        Whose lock the processes hold.
    rules
        As the run was told.
    """

    def __init__(self, project: Study, plan: Plan, session: Session, rules: Rules) -> None:
        self._project = project
        self._plan = plan
        self._session = session
        self._rules = rules
        self._has_own_prefixes = any_has_own(project)
        self._directives: dict[tuple[str, str], Directives] = {}
        self._needs: dict[tuple[str, str], Needs] = {}
        self._varying = {
            name: any(callable(value) for value in operation.directives.values())
            for name, operation in plan.definition.operations.items()
        }
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []

    def are_alike(self, operation: Operation) -> bool:
        """Say whether all tasks of an operation ask for the same, because no directive is a function of the jobs."""
        return not self._varying[operation.name]

    def directives_of(self, task: Task) -> Directives:
        """Return what a task asks of the machine."""
        key = self._key(task)
        if key not in self._directives:
            self._directives[key] = directives_of(self._plan, task)
        return self._directives[key]

    def needs_of(self, task: Task) -> Needs:
        """Return the slots that a task takes; one core for a task that will fail, and say why, when it is started."""
        key = self._key(task)
        if key not in self._needs:
            try:
                self._needs[key] = Needs.of(self.directives_of(task))
            except Exception:
                self._needs[key] = Needs()
        return self._needs[key]

    def weight_of(self, task: Task) -> float:
        """Return how long a task is expected to take, in seconds; 1 when nothing was declared."""
        try:
            walltime = self.directives_of(task)["walltime"]
        except Exception:
            return 1.0
        return 1.0 if walltime is None else float(walltime.total_seconds())

    def jobs(self, task: Task) -> list[Any]:
        """Return the signac jobs of a task."""
        return [self._plan.workspace.job(i) for i in task.aggregate.job_ids]

    def needs_shell(self, task: Task) -> bool:
        """Say whether a task is a line for the shell; a call in this process or in a worker otherwise."""
        if task.operation.cmd or needs_own_process(task.operation, self.directives_of(task)):
            return True
        return self._has_own_prefixes and self._job_operation([task]).prefix != ""

    def go_alike(self, task: Task, other: Task) -> bool:
        """Say whether two tasks of an operation need the same, so that one process may do one after the other."""
        try:
            return self.needs_of(task) == self.needs_of(other) and self.needs_shell(task) == self.needs_shell(other)
        except Exception:
            return False  # it fails when it is started, and says why

    def launch(self, work: Work) -> None:
        """Give a piece of work its process; one that can't be started has ended with the reason."""
        try:
            work.process = self._process(work)
        except Exception as error:
            os.write(work.log_fd, f"{type(error).__name__}: {error}\n".encode())
            work.process = NoProcess(Ended(1, f"{type(error).__name__}: {error}", exception=error.__cause__ or error))

    def launch_behind(self, works: Sequence[Work], worker: Worker) -> None:
        """Give pieces of work to a worker, to be done when it has done what it was given before."""
        calls = []
        for work in works:
            work.process = worker
            calls.append(self._call_of(work))
        worker.call_later(calls)

    def is_done_with(self, process: Process) -> None:
        """Take note that a process has nothing more to do."""
        if isinstance(process, Worker) and process.is_alive:
            self._idle.append(process)

    def forget(self, process: Process) -> None:
        """Take note that an idle worker has died."""
        self._idle = [worker for worker in self._idle if worker is not process]

    def close(self) -> None:
        """Let all workers go."""
        for worker in self._workers:
            worker.close()

    def _job_operation(self, tasks: Sequence[Task]) -> JobOperation:
        return JobOperation(self._project, self._plan, tasks, self.directives_of(tasks[0]))

    def _key(self, task: Task) -> tuple[str, str]:
        return task.key if self._varying[task.operation.name] else (task.operation.name, "")

    def _variables(self, work: Work) -> dict[str, str]:
        """Return the environment variables that keep a piece of work to its share of the machine.

        A task that runs alone keeps to what was declared, if anything was.
        """
        directives = self.directives_of(next(iter(work.tasks.values())))
        limited = self._rules.machine is not None or directives["omp_num_threads"]
        return work.grant.variables(threads_of(directives)) if limited else {}

    def _call_of(self, work: Work) -> tuple[str, str, dict[str, str], list[str]]:
        """Return a log, and the arguments of :meth:`_call`."""
        return work.log, work.operation.name, self._variables(work), work.job_ids

    def _process(self, work: Work) -> Process:
        operation, job_ids = work.operation, work.job_ids
        if self.needs_shell(next(iter(work.tasks.values()))):
            if operation.cmd and operation.hooks:
                for task in work.tasks.values():
                    operation.hooks.start(operation.name, *self.jobs(task))
            work.command = self._job_operation(list(work.tasks.values())).cmd
            env = self._variables(work)
            if not operation.cmd:
                work.report = f"{work.log}.report"
            if work.report:
                env[REPORT_VARIABLE] = work.report
            return ShellProcess(
                work.command,
                output=work.log,
                script=f"{work.log}.sh",
                cwd=self._project.path,
                env=env,
                keep_fd=self._session.lock_fd,
            )
        if self._rules.inline:
            return InlineCall(functools.partial(self._call, operation.name, {}, job_ids), log=work.log)
        worker = self._idle.pop() if self._idle else self._new_worker()
        worker.call(*self._call_of(work))
        return worker

    def _new_worker(self) -> Worker:
        import signac  # noqa: F401 - once here, not by each worker

        close = [handle for worker in self._workers for handle in worker.handles]
        worker = Worker(self._call_in_worker, close_fds=close, cwd=self._project.path)
        self._workers.append(worker)
        return worker

    def _call_in_worker(self, *arguments: Any) -> None:
        self._plan.workspace.expect_few()
        self._call(*arguments)

    def _call(self, name: str, env: dict[str, str], job_ids: Sequence[str], moved: dict[str, str]) -> None:
        """Do a Python operation; the environment is as before when the worker takes its next task.

        ``moved`` takes the new ids of jobs that get another state point.
        """
        operation: Operation = self._plan.definition.operations[name]
        jobs = [self._plan.workspace.job(i) for i in job_ids]
        before = {key: os.environ.get(key) for key in env}
        os.environ.update(env)
        try:
            operation.work(jobs)
        finally:
            moved |= new_ids(job_ids, jobs)
            self._plan.workspace.let_go(moved)
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value
