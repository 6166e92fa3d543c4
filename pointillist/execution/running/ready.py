"""Which task comes next. Keeps the tasks that could start and chooses among them; starts nothing."""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pointillist.definition.operations import Operation
from pointillist.execution.running.batches import share
from pointillist.state.tasks import Task, TaskKey

LOOKED_AT_FOR_A_BATCH = 8
"""A batch of limited size is dealt from so many times as many tasks: to look at all each time would be too much."""


class ReadyTasks:
    """The tasks that could start now.

    Single tasks come before batches, so that batches are full; among single tasks the one furthest along the study
    comes first, so that results appear early, and of those that wait for as much the operation declared first; among
    batches the earliest operation, so that the later ones are full.

    Parameters
    ----------
    operations
        All operations in the order of their definition.
    priority
        Replaces that order: the task with the smallest value comes first. Asked once, when a task becomes ready.
    depths
        How far along the study each operation is, by name.
    """

    def __init__(
        self,
        operations: list[Operation],
        priority: Callable[[Task], Any] | None = None,
        depths: Mapping[str, int] | None = None,
    ) -> None:
        # A plain dict passes over all that was taken out at its front each time it is asked for the first.
        self._tasks = {operation.name: OrderedDict[str, Task]() for operation in operations}
        self._priority = priority
        self._ranked: dict[str, list[tuple[Any, int, Task]]] = {operation.name: [] for operation in operations}
        self._places: dict[TaskKey, int] = {}
        """With a priority: the number of the entry among the ranked that counts for a task."""
        self._numbers = itertools.count()
        singles = [operation.name for operation in operations if not operation.is_batched]
        batched = [operation.name for operation in operations if operation.is_batched]
        self._order = [*sorted(singles, key=lambda name: -(depths or {}).get(name, 0)), *batched]

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))

    def add(self, task: Task) -> None:
        """Take note that a task could start."""
        tasks = self._tasks[task.operation.name]
        if task.aggregate.id in tasks:
            return
        tasks[task.aggregate.id] = task
        if self._priority is not None:
            number = self._places[task.key] = next(self._numbers)
            heapq.heappush(self._ranked[task.operation.name], (self._priority(task), number, task))

    def discard(self, task: Task) -> None:
        """Take note that a task can't start any more."""
        self._tasks[task.operation.name].pop(task.aggregate.id, None)
        self._places.pop(task.key, None)

    def clear(self) -> None:
        """Forget all tasks."""
        for name, tasks in self._tasks.items():
            tasks.clear()
            self._ranked[name].clear()
        self._places.clear()

    def take(
        self,
        fits: Callable[[Task], bool],
        *,
        alike: Callable[[Operation], bool],
        shares: Callable[[], int],
        weight: Callable[[Task], float],
        most: int | None,
    ) -> list[Task]:
        """Take the tasks that the next process should work through; empty when none fits.

        Parameters
        ----------
        fits
            Says whether what a task needs is free.
        alike
            Says whether all tasks of an operation need the same: then one that does not fit speaks for all.
        shares
            Says how many processes will share the tasks of a batched operation, the next one included; not asked for
            other operations.
        weight
            How long a task is expected to take, in any unit.
        most
            How many to take at most; None for no limit.
        """
        task = self._first(fits, alike)
        if task is None:
            return []
        taken = [task]
        if task.operation.is_batched:
            limit, hands = task.operation.max_batch, shares()
            others = self._tasks[task.operation.name].values()
            looked_at = None if limit is None else max(1, hands) * limit * LOOKED_AT_FOR_A_BATCH
            ready = [other for other in itertools.islice(others, looked_at) if fits(other)]
            taken = share(ready, [weight(other) for other in ready], hands, limit)
        taken = taken[:most]
        for other in taken:
            self.discard(other)
        return taken

    def take_first(self, accept: Callable[[Task], bool]) -> Task | None:
        """Take the task that comes first, if that is acceptable."""
        task = self._first(lambda task: True, lambda operation: True)
        if task is None or not accept(task):
            return None
        self.discard(task)
        return task

    def _first(self, fits: Callable[[Task], bool], alike: Callable[[Operation], bool]) -> Task | None:
        """Return the task that comes first among those that fit."""
        if self._priority is None:
            found = (self._first_of(self._tasks[name].values(), fits, alike) for name in self._order)
            return next((task for task in found if task is not None), None)
        best: tuple[Any, int, Task] | None = None
        for name in self._tasks:
            entries = list[tuple[Any, int, Task]]()
            for entry in self._by_rank(name):
                entries.append(entry)
                if best is not None and best[0] <= entry[0]:
                    break
                if fits(entry[2]):
                    best = entry
                    break
                if alike(entry[2].operation):
                    break
            for entry in entries:
                heapq.heappush(self._ranked[name], entry)
        return best[2] if best is not None else None

    @staticmethod
    def _first_of(tasks: Any, fits: Callable[[Task], bool], alike: Callable[[Operation], bool]) -> Task | None:
        for task in tasks:
            if fits(task):
                found: Task = task
                return found
            if alike(task.operation):
                return None
        return None

    def _by_rank(self, name: str) -> Iterator[tuple[Any, int, Task]]:
        """Take out the ranked tasks of an operation in their order; entries that no longer count are dropped."""
        ranked = self._ranked[name]
        while ranked:
            entry = heapq.heappop(ranked)
            if self._places.get(entry[2].key) == entry[1]:
                yield entry
