"""Facts: the answers to conditions, each asked once, for one job or for all jobs in a sweep.

The answers for single jobs are kept in one column of bytes a condition; what the survey of the workspace knows fills
the columns of the declared conditions, a user's function is called when its answer is needed. Answers for aggregates of
several jobs are kept apart.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from pointillist.definition.aggregates import Aggregate
from pointillist.definition.conditions import Condition, Copied, JobCondition, Never, Not
from pointillist.definition.operations import Operation
from pointillist.definition.registry import Definition
from pointillist.errors import PointillistError
from pointillist.state.grouping import Groups
from pointillist.state.survey import NO, UNKNOWN, YES
from pointillist.state.workspace import JobFolder, Workspace

FEW = 16
"""So many jobs are asked anew rather than remembered one by one."""

OPPOSITE = bytes([YES, NO, UNKNOWN]).ljust(256, b"\0")
_AND = bytes([NO, NO, NO, NO, YES, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN]).ljust(256, b"\0")
"""By 3 * first + second; what comes first decides when it is not true, as when the conditions are asked one by one."""


class Facts:
    """Answers conditions from one workspace snapshot and remembers every answer."""

    def __init__(self, definition: Definition, workspace: Workspace) -> None:
        self._definition = definition
        self._workspace = workspace
        self._declared = dict.fromkeys(_declared(definition))
        workspace.declare(self._declared)
        self.forget_all()

    def folder(self, job_id: str) -> JobFolder:
        """Return the reader of one job's folder."""
        return self._workspace.folder(job_id)

    def job(self, job_id: str) -> Any:
        """Return the job as a user's condition sees it."""
        return self._workspace.seen_job(job_id)

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        """Return the operation a function was declared as."""
        return self._definition.operation_of(function)

    def holds(self, condition: Condition, aggregate: Aggregate) -> bool:
        """Answer a condition, from memory when it was asked before."""
        place = self._places.get(aggregate.id)
        if place is not None:
            column = self._columns.get(condition)
            if column is None:
                column = self._new_column(condition)
            if column[place] == UNKNOWN:
                column[place] = YES if self._ask(condition, aggregate) else NO
            return column[place] == YES
        answers = self._answers[condition]
        answer = answers.get(aggregate.id)
        if answer is None:
            answer = answers[aggregate.id] = self._ask(condition, aggregate)
        return answer

    def holds_for_each(self, condition: Condition, aggregate: Aggregate) -> bool:
        """Say whether a condition holds for each job of an aggregate on its own.

        The first job for which it does not is remembered: until that one changes there is no need to ask the others.
        Among a few jobs that is not worth it.
        """
        if len(aggregate.job_ids) <= FEW:
            return self._holds_for_few(condition, aggregate.job_ids)
        open_jobs = self._open[condition].get(aggregate.id)
        if open_jobs is None:
            open_jobs = self._open[condition][aggregate.id] = _OpenJobs(aggregate.job_ids)
        for job_id in open_jobs:
            open_jobs.again[job_id] = None
            if not self.holds(condition, Aggregate(job_id, (job_id,))):
                return False
            del open_jobs.again[job_id]
        return True

    def _holds_for_few(self, condition: Condition, job_ids: Iterable[str]) -> bool:
        column = self._columns.get(condition) or self._new_column(condition)
        for job_id in job_ids:
            place = self._places.get(job_id)
            answer = UNKNOWN if place is None else column[place]
            if answer == NO or (answer == UNKNOWN and not self.holds(condition, Aggregate(job_id, (job_id,)))):
                return False
        return True

    def are_declared(self, conditions: Iterable[Condition]) -> bool:
        """Say whether conditions are answered without calling a function of the user's."""
        for condition in conditions:
            if isinstance(condition, Not):
                parts: tuple[Condition, ...] = (condition.condition,)
            elif isinstance(condition, Copied):
                parts = tuple(c for f in condition.functions for c in condition.conditions(self.operation_of(f)))
            elif condition in self._declared or isinstance(condition, Never):
                continue
            else:
                return False
            if not self.are_declared(parts):
                return False
        return True

    def column(self, condition: Condition, needed: bytes) -> bytes:
        """Answer a condition for all jobs.

        Parameters
        ----------
        needed
            A column with ``YES`` for each job whose answer matters.

        Returns
        -------
        bytes
            The answers by the places of the jobs in the survey; unknown where a condition could not be answered.
        """
        if isinstance(condition, Not):
            return self.column(condition.condition, needed).translate(OPPOSITE)
        if isinstance(condition, Never):
            return bytes(len(needed))
        if isinstance(condition, Copied):
            operations = [self.operation_of(function) for function in condition.functions]
            return self.all_hold([c for operation in operations for c in condition.conditions(operation)], needed)
        column = self._columns.get(condition)
        if column is None:
            column = self._new_column(condition)
        ids = self._workspace.survey().ids
        for place in places_of(YES * 3 + UNKNOWN, combined(needed, column)):
            job_id = ids[place]
            try:
                self.holds(condition, Aggregate(job_id, (job_id,)))
            except PointillistError:
                continue
        return bytes(column)

    def all_hold(self, conditions: Iterable[Condition], needed: bytes) -> bytes:
        """Say for all jobs whether several conditions hold; each is asked only where those before it hold."""
        held = needed.translate(bytes([YES]) * 256)
        for condition in conditions:
            held = both(held, self.column(condition, both(needed, held)))
        return held

    def known(self, conditions: Iterable[Condition], groups: Groups | None = None) -> bytes:
        """Say whether several conditions hold, as far as it is known without asking anything.

        Parameters
        ----------
        groups
            Groups of jobs to say it for; None for each job.

        Returns
        -------
        bytes
            An answer for each group or job: that of the first condition which is not known to hold.
        """
        held = bytes([YES]) * len(self._places if groups is None else groups)
        for condition in conditions:
            held = both(held, self._known(condition, groups))
        return held

    def _known(self, condition: Condition, groups: Groups | None) -> bytes:
        count = len(self._places if groups is None else groups)
        if isinstance(condition, Not):
            return self._known(condition.condition, groups).translate(OPPOSITE)
        if isinstance(condition, Copied):
            held = bytes([YES]) * count
            for operation in map(self.operation_of, condition.functions):
                conditions = condition.conditions(operation)
                if groups is None or not operation.aggregator.is_single:
                    held = both(held, self.known(conditions, groups))
                    continue
                for part in conditions:  # one after the other, each of all jobs
                    held = both(held, groups.each(self._known(part, None)))
            return held
        if isinstance(condition, Never):
            return bytes([NO]) * count
        if condition not in self._declared:
            return bytes([UNKNOWN]) * count
        column = self._columns.get(condition) or self._new_column(condition)
        return bytes(column) if groups is None else groups.each(column)

    def forget(self, aggregate_ids: Iterable[str]) -> None:
        """Forget the answers for some aggregates."""
        for aggregate_id in aggregate_ids:
            place = self._places.get(aggregate_id)
            if place is not None:
                for column in self._columns.values():
                    column[place] = UNKNOWN
            for answers in self._answers.values():
                answers.pop(aggregate_id, None)
            for condition in self._errors:
                self._errors[condition].pop(aggregate_id, None)

    def forget_job(self, job_id: str, aggregate_ids: Iterable[str]) -> None:
        """Forget the answers for a job, and for the aggregates of several jobs that it belongs to."""
        aggregate_ids = list(aggregate_ids)
        self.forget([job_id, *aggregate_ids])
        for by_aggregate in self._open.values():
            for aggregate_id in aggregate_ids:
                if aggregate_id in by_aggregate:
                    by_aggregate[aggregate_id].again[job_id] = None

    def forget_all(self) -> None:
        """Forget every answer."""
        self._columns: dict[Condition, bytearray] = {}
        self._answers: dict[Condition, dict[str, bool]] = defaultdict(dict)
        self._errors: dict[Condition, dict[str, PointillistError]] = defaultdict(dict)
        self._open: dict[Condition, dict[str, _OpenJobs]] = defaultdict(dict)
        self._places: dict[str, int] = {}

    def begin(self) -> None:
        """Take the answers of the workspace's survey as the starting point."""
        self.forget_all()
        self._places = {job_id: place for place, job_id in enumerate(self._workspace.survey().ids)}

    @property
    def places(self) -> dict[str, int]:
        """The places of the jobs in columns; empty before :meth:`begin`."""
        return self._places

    def _ask(self, condition: Condition, aggregate: Aggregate) -> bool:
        errors = self._errors.get(condition)
        if errors and aggregate.id in errors:
            raise errors[aggregate.id]
        try:
            return condition.holds(self, aggregate)
        except PointillistError as error:
            self._errors[condition][aggregate.id] = error
            raise

    def _new_column(self, condition: Condition) -> bytearray:
        survey = self._workspace.survey()
        answers = None
        if isinstance(condition, JobCondition) and condition.question is not None:
            answers = survey.column(condition.question)
        column = bytearray([UNKNOWN]) * len(survey.ids) if answers is None else bytearray(answers)
        self._columns[condition] = column
        return column


class _OpenJobs:
    """The jobs of an aggregate for which a condition is not known to hold; who iterates takes out those it settles."""

    __slots__ = ("_job_ids", "_next", "again")

    def __init__(self, job_ids: tuple[str, ...]) -> None:
        self._job_ids = job_ids
        self._next = 0
        self.again: dict[str, None] = {}
        """Jobs that were asked before and have to be asked once more."""

    def __iter__(self) -> Iterator[str]:
        while self.again:
            yield next(iter(self.again))
        while self._next < len(self._job_ids):
            self._next += 1
            yield self._job_ids[self._next - 1]


def _declared(definition: Definition) -> Iterator[JobCondition]:
    """Yield every condition of a definition that says what it reads."""
    seen: set[int] = set()

    def walk(condition: Any) -> Iterator[JobCondition]:
        if id(condition) in seen:
            return
        seen.add(id(condition))
        if isinstance(condition, JobCondition) and condition.question is not None:
            yield condition
        elif isinstance(condition, Not):
            yield from walk(condition.condition)
        elif isinstance(condition, Copied):
            for function in condition.functions:
                for part in condition.conditions(definition.operation_of(function)):
                    yield from walk(part)

    for operation in definition.operations.values():
        for condition in (*operation.pre, *operation.post):
            yield from walk(condition)
    for label in definition.labels:
        yield from walk(label.function)


def both(first: bytes, second: bytes) -> bytes:
    """Say where two claims hold; the second is asked only where the first holds."""
    return combined(first, second).translate(_AND)


def combined(first: bytes, second: bytes | bytearray) -> bytes:
    """Return 3 * first + second, byte by byte."""
    total = int.from_bytes(first, sys.byteorder) * 3 + int.from_bytes(second, sys.byteorder)
    return total.to_bytes(len(first), sys.byteorder)


def places_of(value: int, column: bytes) -> Iterator[int]:
    """Yield the places in a column that hold a value."""
    place = column.find(value)
    while place >= 0:
        yield place
        place = column.find(value, place + 1)
