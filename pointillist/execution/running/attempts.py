"""The attempts of a run: claimed tasks become a piece of work with a log, and their start and end are recorded."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence

from pointillist.execution.running.logs import Logs
from pointillist.execution.running.machine import NOTHING
from pointillist.execution.running.processes import Ended, NoProcess
from pointillist.execution.running.work import Work
from pointillist.state.journal import Attempt, JournalWriter, Outcome
from pointillist.state.plan import Plan
from pointillist.state.sessions import Session
from pointillist.state.tasks import Task


class Attempts:
    """Makes pieces of work and records what becomes of them.

    Parameters
    ----------
    plan
        Whose journal is written, and what a failure depends on.
    session
        Who makes the attempts.
    root
        The project folder.
    state_folder
        The folder of the engine's files.
    """

    def __init__(self, plan: Plan, session: Session, *, root: str, state_folder: str) -> None:
        self._plan = plan
        self._session = session
        self._journal = JournalWriter(plan.journal, session)
        self._logs = Logs(os.path.join(state_folder, "logs"))
        self._above = os.path.join(root, "")
        self._batches = itertools.count(1)

    def prepare(self, tasks: Sequence[Task]) -> Work:
        """Make a piece of work of claimed tasks of one operation; nothing is recorded yet."""
        operation = tasks[0].operation
        batch = f"{self._session.id}-{next(self._batches)}" if len(tasks) > 1 else None
        log, log_fd = self._logs.open(operation.name, batch or tasks[0].aggregate.id)
        by_id = {task.aggregate.id: task for task in tasks}
        report = f"{log}.report" if operation.is_batched and operation.cmd else None
        work = Work(operation, by_id, {}, log, log_fd, NOTHING, NoProcess(), batch=batch, report=report)
        work.open = set(by_id)
        return work

    def start(self, work: Work) -> None:
        """Record that tasks are about to begin; nothing begins before that is written."""
        log = work.log.removeprefix(self._above)
        for task_id, task in work.tasks.items():
            inode = self._plan.workspace.inode(task_id) if task.operation.aggregator.is_single else 0
            work.attempts[task_id] = self._journal.start(*task.key, log=log, batch=work.batch, inode=inode)

    def end(self, work: Work, task_id: str, task: Task, outcome: Outcome, ended: Ended, message: str) -> Attempt:
        """Record how a task ended; ``task`` is on the jobs as they are now."""
        attempt = work.attempts[task_id]
        work.open.discard(task_id)
        self._journal.end(
            attempt,
            outcome,
            exit_code=ended.exit_code,
            message=message,
            fingerprint=self._plan.fingerprint(task) if outcome is Outcome.FAILED else "",
            usage=ended.usage if len(work.tasks) == 1 else None,
            began=ended.began if work.was_ahead else None,
            aggregate_id=task.aggregate.id,
        )
        return attempt

    def refuse(self, task: Task, why: str) -> Attempt:
        """Record that a task has failed without having begun."""
        attempt = self._journal.start(*task.key, log="")
        self._journal.end(attempt, Outcome.FAILED, message=why, fingerprint=self._plan.fingerprint(task))
        return attempt

    def use(self, work: Work, ended: Ended) -> None:
        """Record what the process of a batch has used, once it is known."""
        if ended.usage is not None and len(work.tasks) > 1:
            self._journal.use(list(work.attempts.values()), ended.usage)

    def withdraw(self, works: Sequence[Work]) -> None:
        """Take back pieces of work that have not begun."""
        self._journal.withdraw([attempt for work in works for attempt in work.attempts.values()])
        for work in works:
            self.close(work)

    def close(self, work: Work) -> None:
        """Let go of the files of a piece of work that has ended."""
        work.remove_report()
        self._logs.close(work.log, work.log_fd)

    def close_all(self) -> None:
        """Let go of all files."""
        self._logs.close_all()
        self._journal.close()
