"""Which task comes next. Keeps the tasks that could start and chooses among them; starts nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pointillist.definition.operations import Operation
from pointillist.execution.batches import share
from pointillist.state.plan import Task


class ReadyTasks:
    """The tasks that could start now.

    Single tasks come before batches, so that batches are full; among single tasks the one furthest along the study
    comes first, so that results appear early; among batches the earliest operation, so that the later ones are full.

    Parameters
    ----------
    operations
        All operations in the order of their definition.
    priority
        Replaces that order: the task with the smallest value comes first.
    """

    def __init__(self, operations: list[Operation], priority: Callable[[Task], Any] | None = None) -> None:
        self._tasks: dict[str, dict[str, Task]] = {operation.name: {} for operation in operations}
        self._priority = priority
        singles = [operation.name for operation in operations if not operation.is_batched]
        batched = [operation.name for operation in operations if operation.is_batched]
        self._order = [*reversed(singles), *batched]

    def __len__(self) -> int:
        return sum(map(len, self._tasks.values()))

    def add(self, task: Task) -> None:
        """Take note that a task could start."""
        self._tasks[task.operation.name][task.aggregate.id] = task

    def discard(self, task: Task) -> None:
        """Take note that a task can't start any more."""
        self._tasks[task.operation.name].pop(task.aggregate.id, None)

    def clear(self) -> None:
        """Forget all tasks."""
        for tasks in self._tasks.values():
            tasks.clear()

    def take(
        self,
        fits: Callable[[Task], bool],
        *,
        shares: Callable[[], int],
        weight: Callable[[Task], float],
        most: int | None,
    ) -> list[Task]:
        """Take the tasks that the next process should work through; empty when none fits.

        Parameters
        ----------
        fits
            Says whether what a task needs is free.
        shares
            Says how many processes will share the tasks of a batched operation, the next one included; not asked for
            other operations.
        weight
            How long a task is expected to take, in any unit.
        most
            How many to take at most; None for no limit.
        """
        for task in self._candidates():
            if not fits(task):
                continue
            taken = [task]
            if task.operation.is_batched:
                alike = [other for other in self._tasks[task.operation.name].values() if fits(other)]
                taken = share(alike, [weight(other) for other in alike], shares(), task.operation.max_batch)
            taken = taken[:most]
            for other in taken:
                self.discard(other)
            return taken
        return []

    def _candidates(self) -> Iterator[Task]:
        if self._priority is not None:
            yield from sorted((t for tasks in self._tasks.values() for t in tasks.values()), key=self._priority)
            return
        for name in self._order:
            # The one who asks changes the tasks only after he has stopped asking.
            yield from self._tasks[name].values()
