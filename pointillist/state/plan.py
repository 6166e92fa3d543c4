"""The plan: every task of the project and the one state it is in.

Put together from what was declared, what the workspace holds and what the journal and the claims add. Making it has no
side effects. Each condition is answered at most once for each aggregate; :meth:`Plan.update` asks anew only what tasks
that ended may have changed.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.asking import ask
from pointillist.definition.groups import Group
from pointillist.definition.operations import Operation
from pointillist.definition.registry import Definition
from pointillist.errors import BrokenJobError, PointillistError, UserConditionError
from pointillist.state.columns import CODES, NO_TASK, OPEN, STATES, states_of_groups, states_of_jobs
from pointillist.state.facts import Facts, places_of
from pointillist.state.grouping import aggregates_of
from pointillist.state.journal import Attempt, Journal, Outcome
from pointillist.state.older import older_ids
from pointillist.state.sessions import Sessions
from pointillist.state.submissions import OnCluster, Presence
from pointillist.state.survey import NO, YES
from pointillist.state.tasks import State, Task, TaskKey
from pointillist.state.workspace import ONE_BY_ONE, Workspace


class _AllTasks(Collection[Task]):
    """All tasks of a plan; counting them makes none."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __iter__(self) -> Iterator[Task]:
        return self._plan.tasks()

    def __len__(self) -> int:
        return sum(map(self._plan.count_tasks, self._plan.definition.operations.values()))

    def __contains__(self, task: object) -> bool:
        return isinstance(task, Task) and self._plan.find(*task.key) == task


class ClusterWatch(Protocol):
    """Knows which tasks were handed to a scheduler, and what became of those that it no longer has."""

    def of(self, plan: Plan, key: TaskKey) -> OnCluster | None:
        """Return where a task is on the cluster; None when it is not there."""

    def concerned(self, plan: Plan) -> Iterable[TaskKey]:
        """Return the tasks of which it knows something that the workspace does not."""

    def failure(self, plan: Plan, key: TaskKey) -> Attempt | None:
        """Return how its last cluster job failed a task, when it did."""


class Plan:
    """Every task of a project and its state.

    Parameters
    ----------
    definition, workspace, journal, sessions
        What was declared, and what is known of the present.
    code_version
        Returns a hash of the user's code; a failed task whose code has changed since may be tried again.
    cluster
        Where tasks are on the cluster; None when nothing was submitted.
    """

    def __init__(
        self,
        definition: Definition,
        workspace: Workspace,
        journal: Journal,
        sessions: Sessions,
        code_version: Callable[[], str] = str,
        cluster: ClusterWatch | None = None,
    ) -> None:
        self.definition = definition
        self.workspace = workspace
        self.journal = journal
        self.facts = Facts(definition, workspace)
        self._sessions = sessions
        self._code_version = code_version
        self.cluster = cluster
        self.errors: dict[TaskKey, PointillistError] = {}
        self.refresh()

    def refresh(self) -> None:
        """Forget everything; it is read anew as far as it is asked for."""
        self.workspace.refresh()
        self.journal.catch_up()
        self.facts.forget_all()
        self.errors.clear()
        self._running = self._sessions.live_claims()
        self._is_surveyed = False
        self._gone: set[str] = set()
        """Jobs that were there, and are removed or have another state point now."""
        self._states: dict[TaskKey, State] = {}
        self._columns: dict[str, bytearray] = {}
        self._swept: set[str] = set()
        """Operations on several jobs whose states were worked out, as far as that can be done in one sweep."""
        self._asked = Counter[str]()
        self._singles: list[Aggregate] | None = None
        self._groups: dict[str, dict[str, Task]] = {}
        self._with_job: dict[str, defaultdict[str, list[Task]]] = {}

    def tasks(self) -> Iterator[Task]:
        """Iterate over all tasks, operation by operation in the order of their definition."""
        for operation in self.definition.operations.values():
            yield from self.tasks_of(operation)

    def all_tasks(self) -> Collection[Task]:
        """Return all tasks as a collection that makes each when it is looked at."""
        return _AllTasks(self)

    def tasks_of(self, operation: Operation) -> Iterable[Task]:
        """Iterate over the tasks of one operation."""
        self._survey()
        if not operation.aggregator.is_single:
            return self._tasks_by_id(operation).values()
        if self._singles is None:
            self._singles = [Aggregate(i, (i,)) for i in self.workspace.job_ids]
        return (Task(operation, aggregate) for aggregate in self._singles)

    def tasks_in(self, states: Collection[State], operations: Iterable[Operation] | None = None) -> Iterator[Task]:
        """Iterate over the tasks that are in one of some states, without a look at each of the others."""
        for operation in self.definition.operations.values() if operations is None else operations:
            if not operation.aggregator.is_single:
                self._sweep(operation)
                yield from (task for task in self.tasks_of(operation) if self.state(task) in states)
                continue
            column = self._column(operation)
            ids = self.workspace.survey().ids
            is_wanted = bytes(code < len(STATES) and STATES[code] in states for code in range(256))
            for place in itertools.compress(range(len(ids)), bytes(column).translate(is_wanted)):
                task = Task(operation, Aggregate(ids[place], (ids[place],)))
                # Whoever works through them changes states on the way.
                if self.state(task) in states:
                    yield task

    def find(self, operation: str, aggregate_id: str) -> Task | None:
        """Return a task by the operation's name and the aggregate's id."""
        declared = self.definition.operations.get(operation)
        if declared is None:
            return None
        if not declared.aggregator.is_single:
            return self._tasks_by_id(declared).get(aggregate_id)
        if aggregate_id in self.workspace.broken if self._is_surveyed else not self.workspace.has_job(aggregate_id):
            return None
        if self._is_surveyed and aggregate_id not in self.facts.places:
            return None
        return Task(declared, Aggregate(aggregate_id, (aggregate_id,)))

    def state(self, task: Task) -> State:
        """Return the state of a task, worked out at the first question."""
        operation, aggregate = task
        column = self._columns.get(operation.name)
        if column is None and self._is_surveyed and operation.aggregator.is_single:
            column = self._column_if_worthwhile(operation)
        if column is not None:
            place = self.facts.places.get(aggregate.id)
            if place is not None and column[place] != NO_TASK:
                if column[place] == OPEN:
                    column[place] = CODES[self._work_out(task)]
                return STATES[column[place]]
        state = self._states.get(task.key)
        if state is None:
            state = self._states[task.key] = self._work_out(task)
        return state

    def count_tasks(self, operation: Operation) -> int:
        """Count the tasks of an operation."""
        is_single = operation.aggregator.is_single
        return len(self.workspace.job_ids if is_single else self._tasks_by_id(operation))

    def count_states(self, operation: Operation) -> dict[State, int]:
        """Count the tasks of an operation by their states."""
        if operation.aggregator.is_single:
            column = self._column(operation)
            return {state: column.count(code) for state, code in CODES.items()}
        self._sweep(operation)
        states = Counter(self.state(task) for task in self.tasks_of(operation))
        return {state: states[state] for state in State}

    def count_open(self, tasks: Iterable[Task]) -> Counter[str]:
        """Count, by operation, the tasks that have work left that can be done."""
        closed = (State.COMPLETED, State.BROKEN)
        if not isinstance(tasks, _AllTasks):
            return Counter(task.operation.name for task in tasks if self.state(task) not in closed)
        counted = {name: self.count_states(operation) for name, operation in self.definition.operations.items()}
        return Counter({name: sum(n for s, n in counts.items() if s not in closed) for name, counts in counted.items()})

    def aggregates_of(self, owner: Operation | Group) -> list[Aggregate]:
        """Return the aggregates of an operation or a group; none, and a note among the errors, when that fails."""
        try:
            return ask(
                lambda: aggregates_of(owner.aggregator, self.workspace),
                lambda what: UserConditionError(
                    f"The aggregator of {owner.name} raised {what}.",
                    hint="Give groupby a default for jobs without the key, or mend the function.",
                ),
            )
        except UserConditionError as error:
            self.errors[owner.name, ""] = error
            return []

    def older_ids(self) -> dict[str, set[str]]:
        """Return ids of aggregates by those that signac-flow has for the same jobs."""
        return older_ids(self.workspace, self.definition.operations.values())

    def update(self, task: Task) -> list[Task]:
        """Ask anew what the end of a task may have changed; return the tasks it may concern, this one included."""
        job_ids = task.aggregate.job_ids
        self.workspace.forget(job_ids)
        concerned = {task.key: task}
        for job_id in job_ids:
            (self._gone.discard if self.workspace.has_folder(job_id) else self._gone.add)(job_id)
            several = self._several_with(job_id)
            self.facts.forget_job(job_id, [*(t.aggregate.id for t in several), task.aggregate.id])
            single = Aggregate(job_id, (job_id,))
            for operation in self.definition.operations.values():
                if operation.aggregator.is_single:
                    other = Task(operation, single)
                    concerned[other.key] = other
            concerned |= {t.key: t for t in several}
        for other in concerned.values():
            self._forget_state(other)
            self.errors.pop(other.key, None)
        return list(concerned.values())

    def note_running(self, task: Task, session: str | None) -> None:
        """Take note that a session has begun to work on a task, or has ended (None)."""
        if session is None:
            self._running.pop(task.key, None)
        else:
            self._running[task.key] = session
        self._forget_state(task)

    def lost(self, task: Task) -> BrokenJobError | None:
        """Return what is wrong when a job of a task is no longer there: it must not be asked, nor be made anew."""
        for job_id in self._gone.intersection(task.aggregate.job_ids):
            return BrokenJobError(
                job_id, f"Job {job_id} is no longer there: it was removed, or its state point was changed."
            )
        return None

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
        on_cluster = self.cluster.failure(self, task.key) if self.cluster is not None else None
        if on_cluster is not None and (attempt is None or attempt.started < (on_cluster.ended or 0)):
            attempt = on_cluster
        if attempt is None or attempt.outcome is not Outcome.FAILED:
            return None
        return attempt if attempt.fingerprint == self.fingerprint(task) else None

    def on_cluster(self, key: TaskKey) -> OnCluster | None:
        """Return where a task is on the cluster; None when it is not there."""
        return self.cluster.of(self, key) if self.cluster is not None else None

    def fingerprint(self, task: Task) -> str:
        """Return a hash of what a failed task depends on: the files of its jobs and the user's code."""
        return f"{self.workspace.fingerprint(task.aggregate.job_ids)}-{self._code_version()}"

    def _survey(self) -> None:
        """Read the whole workspace."""
        if not self._is_surveyed:
            self.workspace.survey()
            self.facts.begin()
            self._is_surveyed = True
            self._follow_moved()

    def _follow_moved(self) -> None:
        """Find the jobs again that another session has given another state point while it is still at work on them."""
        moved = {}
        for key, session in self._running.items():
            if not self.workspace.has_folder(key[1]) and (attempt := self.journal.last(*key)) and attempt.inode:
                moved[attempt.inode] = key[0], session
        if moved:
            for inode, job_id in self.workspace.ids_by_inode(moved).items():
                operation, session = moved[inode]
                self._running[operation, job_id] = session

    def _tasks_by_id(self, operation: Operation) -> dict[str, Task]:
        """Return the tasks of an operation on several jobs."""
        tasks = self._groups.get(operation.name)
        if tasks is None:
            self._survey()
            tasks = {aggregate.id: Task(operation, aggregate) for aggregate in self.aggregates_of(operation)}
            self._groups[operation.name] = tasks
        return tasks

    def _several_with(self, job_id: str) -> list[Task]:
        """Return the tasks on several jobs that a job belongs to, as far as they were asked for."""
        for name, tasks in self._groups.items():
            if name not in self._with_job:
                with_job = self._with_job[name] = defaultdict(list)
                for task in tasks.values():
                    for member in task.aggregate.job_ids:
                        with_job[member].append(task)
        return [task for with_job in self._with_job.values() for task in with_job.get(job_id, ())]

    def _forget_state(self, task: Task) -> None:
        self._states.pop(task.key, None)
        column = self._columns.get(task.operation.name)
        place = self.facts.places.get(task.aggregate.id)
        if column is not None and place is not None and column[place] != NO_TASK:
            column[place] = OPEN

    def _broken_places(self) -> list[int]:
        return [self.facts.places[job_id] for job_id in self.workspace.broken]

    def _jobs_column(self) -> bytes:
        """Return a column with YES for each job that can be read."""
        jobs = bytearray([YES]) * len(self.workspace.survey().ids)
        for place in self._broken_places():
            jobs[place] = NO
        return bytes(jobs)

    def _column_if_worthwhile(self, operation: Operation) -> bytearray | None:
        """Return the column of an operation if it costs nothing, or when so much was asked that more will follow."""
        asked = self._asked[operation.name] = self._asked[operation.name] + 1
        if asked > ONE_BY_ONE or self.facts.are_declared((*operation.pre, *operation.post)):
            return self._column(operation)
        return None

    def _column(self, operation: Operation) -> bytearray:
        """Return the states of all tasks of an operation on single jobs, worked out in one sweep."""
        column = self._columns.get(operation.name)
        if column is None:
            self._survey()
            jobs = self._jobs_column()
            column = states_of_jobs(self.facts, operation, jobs)
            for place in self._broken_places():
                column[place] = NO_TASK
            for job_id in self._noted(operation):
                place_or_none = self.facts.places.get(job_id)
                if place_or_none is not None and column[place_or_none] != NO_TASK:
                    column[place_or_none] = OPEN
            self._columns[operation.name] = column
            ids = self.workspace.survey().ids
            for place in places_of(OPEN, bytes(column)):
                self.state(Task(operation, Aggregate(ids[place], (ids[place],))))
        return column

    def _sweep(self, operation: Operation) -> None:
        """Work out in one sweep what was declared tells of the states of the tasks of an operation on several jobs."""
        name = operation.name
        if name in self._swept:
            return
        self._swept.add(name)
        tasks = self._tasks_by_id(operation)
        codes = states_of_groups(self.facts, operation, [task.aggregate for task in tasks.values()])
        noted = self._noted(operation)
        for aggregate_id, code in zip(tasks, codes, strict=True):
            if code != OPEN and aggregate_id not in noted:
                self._states.setdefault((name, aggregate_id), STATES[code])

    def _noted(self, operation: Operation) -> set[str]:
        """Return the aggregates whose task is in a state that others than its conditions decide, perhaps."""
        keys = [*self._running, *self.journal.failed()]
        if self.cluster is not None:
            keys += self.cluster.concerned(self)
        keys += [task.key for job_id in self._gone for task in self._several_with(job_id)]
        return {aggregate_id for name, aggregate_id in keys if name == operation.name}

    def _work_out(self, task: Task) -> State:
        try:
            if lost := self.lost(task):
                raise lost
            if self.is_complete(task):
                return State.COMPLETED
            if task.key in self._running:
                return State.RUNNING
            where = self.on_cluster(task.key)
            if where is not None and not self._has_failed_since(task, where):
                return State.RUNNING if self._is_at_work(task, where) else State.QUEUED
            if not self.is_ready(task):
                return State.WAITING
        except (BrokenJobError, UserConditionError) as error:
            self.errors[task.key] = error
            return State.BROKEN
        return State.FAILED if self.failure(task) else State.ELIGIBLE

    def _has_failed_since(self, task: Task, where: OnCluster) -> bool:
        """Say whether a task has failed while others of its cluster job go on."""
        attempt = self.journal.last(*task.key)
        return (
            attempt is not None
            and attempt.outcome is Outcome.FAILED
            and attempt.started >= where.submission.time
            and self.failure(task) is not None
        )

    def _is_at_work(self, task: Task, where: OnCluster) -> bool:
        """Say whether a cluster job that runs is at this task; of several it may not have come to this one yet."""
        if where.presence is not Presence.RUNNING:
            return False
        # What signac-flow has started keeps no journal: there whatever could run counts as running.
        return len(where.submission.elements[where.element]) == 1 or (
            where.submission.is_inherited and self.is_ready(task)
        )
