"""The plan: every task of the project and the one state it is in.

Put together from what was declared, what the workspace holds and what the journal and the claims add. Making it has no
side effects. Each condition is answered at most once for each aggregate; :meth:`Plan.update` asks anew only what tasks
that ended may have changed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.conditions import Condition
from pointillist.definition.operations import Operation
from pointillist.definition.registry import Definition
from pointillist.errors import BrokenJobError, PointillistError, UserConditionError
from pointillist.state.journal import Attempt, Journal, Outcome
from pointillist.state.sessions import Sessions
from pointillist.state.workspace import JobFolder, Workspace


class State(StrEnum):
    """The state of a task: exactly one of these."""

    COMPLETED = "completed"
    RUNNING = "running"
    QUEUED = "queued"
    FAILED = "failed"
    ELIGIBLE = "eligible"
    WAITING = "waiting"
    BROKEN = "broken"
    """A condition can't be answered: a file of the job is damaged, or a function of the user raised."""


class Task(NamedTuple):
    """The unit that is completed, eligible, waiting, running, queued or failed."""

    operation: Operation
    aggregate: Aggregate

    @property
    def key(self) -> tuple[str, str]:
        """The operation's name and the aggregate's id."""
        return self.operation.name, self.aggregate.id

    def __str__(self) -> str:
        return f"{self.operation.name} ({self.aggregate.id})"


class Facts:
    """Answers conditions from one workspace snapshot and remembers every answer."""

    def __init__(self, definition: Definition, workspace: Workspace) -> None:
        self._definition = definition
        self._workspace = workspace
        self._answers: dict[Condition, dict[str, bool]] = defaultdict(dict)

    def folder(self, job_id: str) -> JobFolder:
        """Return the reader of one job's folder."""
        return self._workspace.folder(job_id)

    def job(self, job_id: str) -> Any:
        """Return the signac job."""
        return self._workspace.job(job_id)

    def holds(self, condition: Condition, aggregate: Aggregate) -> bool:
        """Answer a condition, from memory when it was asked before."""
        answers = self._answers[condition]
        if aggregate.id not in answers:
            answers[aggregate.id] = condition.holds(self, aggregate)
        return answers[aggregate.id]

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        """Return the operation a function was declared as."""
        return self._definition.operation_of(function)

    def forget(self, aggregate_ids: Iterable[str]) -> None:
        """Forget the answers for some aggregates."""
        ids = list(aggregate_ids)
        for answers in self._answers.values():
            for aggregate_id in ids:
                answers.pop(aggregate_id, None)

    def forget_all(self) -> None:
        """Forget every answer."""
        self._answers.clear()


class Plan:
    """Every task of a project and its state.

    Parameters
    ----------
    definition, workspace, journal, sessions
        What was declared, and what is known of the present.
    code_version
        Returns a hash of the user's code; a failed task whose code has changed since may be tried again.
    """

    def __init__(
        self,
        definition: Definition,
        workspace: Workspace,
        journal: Journal,
        sessions: Sessions,
        code_version: Callable[[], str] = str,
    ) -> None:
        self.definition = definition
        self.workspace = workspace
        self.journal = journal
        self.facts = Facts(definition, workspace)
        self._sessions = sessions
        self._code_version = code_version
        self.errors: dict[tuple[str, str], PointillistError] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read everything anew and plan again."""
        self.workspace.refresh()
        self.journal.forget()
        self.facts.forget_all()
        self.errors.clear()
        self._running = self._sessions.live_claims()
        self._tasks: dict[tuple[str, str], Task] = {}
        self._states: dict[tuple[str, str], State] = {}
        self._with_job: dict[str, list[Task]] = defaultdict(list)
        for operation in self.definition.operations.values():
            for aggregate in self._aggregates(operation):
                task = Task(operation, aggregate)
                self._tasks[task.key] = task
                for job_id in aggregate.job_ids:
                    self._with_job[job_id].append(task)

    def tasks(self) -> Iterator[Task]:
        """Iterate over all tasks, operation by operation in the order of their definition."""
        return iter(self._tasks.values())

    def find(self, operation: str, aggregate_id: str) -> Task | None:
        """Return a task by the operation's name and the aggregate's id."""
        return self._tasks.get((operation, aggregate_id))

    def state(self, task: Task) -> State:
        """Return the state of a task, worked out at the first question."""
        state = self._states.get(task.key)
        if state is None:
            state = self._states[task.key] = self._work_out(task)
        return state

    def update(self, task: Task) -> list[Task]:
        """Ask anew what the end of a task may have changed; return the other tasks it may concern."""
        self.workspace.forget(task.aggregate.job_ids)
        concerned = list({t.key: t for i in task.aggregate.job_ids for t in self._with_job[i]}.values())
        self.facts.forget([*task.aggregate.job_ids, *{t.aggregate.id for t in concerned}])
        for other in concerned:
            self._states.pop(other.key, None)
            self.errors.pop(other.key, None)
        return concerned

    def note_running(self, task: Task, session: str | None) -> None:
        """Take note that a session has begun to work on a task, or has ended (None)."""
        if session is None:
            self._running.pop(task.key, None)
        else:
            self._running[task.key] = session
        self._states.pop(task.key, None)

    def is_complete(self, task: Task) -> bool:
        """Say whether a task has post-conditions and all of them hold."""
        post = task.operation.post
        return bool(post) and all(self.facts.holds(condition, task.aggregate) for condition in post)

    def is_ready(self, task: Task) -> bool:
        """Say whether all pre-conditions of a task hold."""
        return all(self.facts.holds(condition, task.aggregate) for condition in task.operation.pre)

    def failure(self, task: Task) -> Attempt | None:
        """Return the failed attempt that still stands: nothing that it depends on has changed since."""
        attempt = self.journal.last(*task.key)
        if attempt is None or attempt.outcome is not Outcome.FAILED:
            return None
        return attempt if attempt.fingerprint == self.fingerprint(task) else None

    def fingerprint(self, task: Task) -> str:
        """Return a hash of what a failed task depends on: the files of its jobs and the user's code."""
        return f"{self.workspace.fingerprint(task.aggregate.job_ids)}-{self._code_version()}"

    def _aggregates(self, operation: Operation) -> list[Aggregate]:
        try:
            return operation.aggregator.aggregates(self.workspace, self.workspace.job_ids)
        except PointillistError:
            raise
        except Exception as error:
            raise UserConditionError(
                f"The aggregator of {operation.name} raised {type(error).__name__}: {error}.",
                hint="Give groupby a default for jobs without the key, or mend the function.",
            ) from error

    def _work_out(self, task: Task) -> State:
        try:
            if self.is_complete(task):
                return State.COMPLETED
            if task.key in self._running:
                return State.RUNNING
            if not self.is_ready(task):
                return State.WAITING
        except (BrokenJobError, UserConditionError) as error:
            self.errors[task.key] = error
            return State.BROKEN
        return State.FAILED if self.failure(task) else State.ELIGIBLE
