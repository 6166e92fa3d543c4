"""How a piece of work becomes a process: what its tasks need, its log, its command or call, its worker."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pointillist.definition.directives import Directives, evaluate
from pointillist.definition.operations import Operation
from pointillist.execution.commands import command_line, needs_own_process
from pointillist.execution.machine import Needs, threads_of
from pointillist.execution.processes import Ended, NoProcess, Process, ShellProcess
from pointillist.execution.terms import Rules
from pointillist.execution.work import REPORT_VARIABLE, Work
from pointillist.execution.workers import InlineCall, Worker
from pointillist.state.plan import Plan, Task
from pointillist.state.sessions import Session


class Launcher:
    """Starts what the loop of a run has decided to start.

    Parameters
    ----------
    plan
        Where the jobs of a task are.
    session
        Whose lock the processes hold.
    root
        The project folder; commands run in it.
    state_folder
        The folder of the engine's files.
    rules, entrypoint
        As the run was told.
    """

    def __init__(
        self,
        plan: Plan,
        session: Session,
        *,
        root: str,
        state_folder: str,
        rules: Rules,
        entrypoint: Mapping[str, str],
    ) -> None:
        self._plan = plan
        self._session = session
        self._root = root
        self._logs = os.path.join(state_folder, "logs")
        self._rules = rules
        self._entrypoint = entrypoint
        self._directives: dict[tuple[str, str], Directives] = {}
        self._needs: dict[tuple[str, str], Needs] = {}
        self._varying = {
            name: any(callable(value) for value in operation.directives.values())
            for name, operation in plan.definition.operations.items()
        }
        self._own_process = {name: needs_own_process(o) for name, o in plan.definition.operations.items()}
        self._idle: list[Worker] = []
        self._workers: list[Worker] = []

    def are_alike(self, operation: Operation) -> bool:
        """Say whether all tasks of an operation ask for the same, because no directive is a function of the jobs."""
        return not self._varying[operation.name]

    def directives_of(self, task: Task) -> Directives:
        """Return what a task asks of the machine."""
        key = self._key(task)
        if key not in self._directives:
            declared = task.operation.directives
            self._directives[key] = evaluate(declared, lambda: tuple(self.jobs(task)), operation=task.operation.name)
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

    def is_for_worker(self, operation: Operation) -> bool:
        """Say whether an operation is a call that a forked worker makes."""
        return not (operation.cmd or self._own_process[operation.name] or self._rules.inline)

    def open_log(self, operation: str, name: str) -> tuple[str, int]:
        """Make a log; the first attempt's has a plain name, later ones are numbered."""
        folder = os.path.join(self._logs, quote(operation, safe=""))
        for number in itertools.count(1):
            path = os.path.join(folder, f"{name}.log" if number == 1 else f"{name}.{number}.log")
            try:
                return path, os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
            except FileNotFoundError:
                os.makedirs(folder, exist_ok=True)
                return self.open_log(operation, name)
        raise AssertionError("there is always a next number")

    def launch(self, work: Work, *, behind: Process | None = None) -> None:
        """Give a piece of work its process; one that can't be started has ended with the reason.

        Parameters
        ----------
        behind
            A worker that shall do it when it has done what it was given before.
        """
        try:
            work.process = self._process(work, behind)
        except Exception as error:
            os.write(work.log_fd, f"{type(error).__name__}: {error}\n".encode())
            work.process = NoProcess(Ended(1, f"{type(error).__name__}: {error}"))

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

    def _key(self, task: Task) -> tuple[str, str]:
        return task.key if self._varying[task.operation.name] else (task.operation.name, "")

    def _process(self, work: Work, behind: Process | None) -> Process:
        tasks = list(work.tasks.values())
        job_ids = [i for task in tasks for i in task.aggregate.job_ids]
        directives = self.directives_of(tasks[0])
        # Tasks that share the machine keep to their share; a task alone keeps to what was declared, if anything was.
        limited = self._rules.machine is not None or directives["omp_num_threads"]
        env = work.grant.variables(threads_of(directives)) if limited else {}
        operation = work.operation
        if operation.cmd or self._own_process[operation.name]:
            jobs = [self._plan.workspace.job(i) for i in job_ids]
            if operation.cmd and operation.hooks:
                for task in tasks:
                    operation.hooks.start(operation.name, *self.jobs(task))
            command = command_line(operation, list(work.tasks), jobs, entrypoint=self._entrypoint)
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
            return InlineCall(lambda: self._call(operation.name, {}, *job_ids), log=work.log)
        worker = behind if isinstance(behind, Worker) else self._idle.pop() if self._idle else self._new_worker()
        worker.call(work.log, operation.name, env, *job_ids)
        return worker

    def _new_worker(self) -> Worker:
        close = [handle for worker in self._workers for handle in worker.handles]
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
