"""What goes up as one: tasks into lines, lines into elements, elements into parcels.

A line is what one process works through (several tasks only of a batched operation, or where lines share slots), an
element what one cluster job runs, and a parcel what one submission hands over: one cluster job, or an array of elements
that ask for the same. Decides; touches nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pointillist.execution.submitting.needs import Needs, at_once, one_after_another
from pointillist.state.tasks import TaskKey

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation
    from pointillist.state.tasks import Task


@dataclass(frozen=True)
class Line:
    """Tasks of one operation that one process works through."""

    operation: Operation
    tasks: tuple[Task, ...]
    retries: bool = False


@dataclass(frozen=True)
class Element:
    """What one cluster job runs."""

    lines: tuple[Line, ...]
    needs: Needs
    after: frozenset[TaskKey] = frozenset()

    @property
    def tasks(self) -> list[Task]:
        """All its tasks, in the order they run."""
        return [task for line in self.lines for task in line.tasks]

    @property
    def shape(self) -> tuple[object, ...]:
        """What elements of one array have in common."""
        return (self.needs, tuple((line.operation.name, len(line.tasks), line.retries) for line in self.lines))


@dataclass(eq=False)
class Parcel:
    """What one submission hands over.

    Attributes
    ----------
    elements
        One for a single cluster job, several for an array.
    elementwise
        Parcels of which element i must end well before element i of this one starts.
    whole
        Parcels that must end well as a whole before this one starts.
    outside
        Tasks that are on the cluster already and must end well before.
    """

    elements: list[Element]
    elementwise: list[Parcel] = field(default_factory=list)
    whole: list[Parcel] = field(default_factory=list)
    outside: set[TaskKey] = field(default_factory=set)

    @property
    def first(self) -> Element:
        """Any element: all of an array are alike."""
        return self.elements[0]

    @property
    def tasks(self) -> list[Task]:
        """All its tasks."""
        return [task for element in self.elements for task in element.tasks]

    @property
    def operations(self) -> list[str]:
        """The names of its operations."""
        return list(dict.fromkeys(line.operation.name for element in self.elements for line in element.lines))


def elements_of(
    tasks: Iterable[Task],
    *,
    needs_of: Callable[[Task], Needs],
    bundle: int | None = 1,
    parallel: bool | int = False,
    retried: Callable[[Task], bool] = lambda task: False,
    after: Mapping[TaskKey, set[TaskKey]] | None = None,
) -> list[Element]:
    """Bundle tasks into elements.

    Parameters
    ----------
    bundle
        How many tasks one cluster job takes; None for all together.
    parallel
        Whether the tasks of a bundle run at the same time; a number says how many of them at most.
    retried
        Says of a task that it failed before.
    after
        What each task waits for.
    """
    groups: dict[tuple[object, ...], list[Task]] = {}
    for task in tasks:
        # Alike tasks lie side by side, so that as many bundles as possible ask for the same.
        key: tuple[object, ...] = (task.operation.name, needs_of(task), retried(task))
        waits = bool(after and after.get(task.key))
        groups.setdefault(() if bundle is None else (*key, waits), []).append(task)
    elements = []
    for sequence in groups.values():
        size = len(sequence) if bundle is None else bundle
        for first in range(0, len(sequence), size):
            part = sequence[first : first + size]
            own = {task.key for task in part}
            before = {key for task in part for key in (after or {}).get(task.key, ())} - own
            if len(part) == 1:
                line = Line(part[0].operation, tuple(part), retried(part[0]))
                elements.append(Element((line,), needs_of(part[0]), frozenset(before)))
                continue
            lines = tuple(_lines(part, parallel, retried))
            of_lines = [one_after_another([needs_of(task) for task in line.tasks]) for line in lines]
            needs = at_once(of_lines) if parallel and len(lines) > 1 else one_after_another(of_lines)
            elements.append(Element(lines, needs, frozenset(before)))
    return elements


def _lines(tasks: Sequence[Task], parallel: bool | int, retried: Callable[[Task], bool]) -> Iterator[Line]:
    """Divide the tasks of one cluster job among its processes."""
    slots = len(tasks) if parallel is True else int(parallel)
    if slots > 1:
        share = -(-len(tasks) // slots)
        for first in range(0, len(tasks), share):
            yield from _runs(tasks[first : first + share], retried, together=True)
    else:
        yield from _runs(tasks, retried, together=False)


def _runs(tasks: Sequence[Task], retried: Callable[[Task], bool], *, together: bool) -> Iterator[Line]:
    run: list[Task] = []
    for task in tasks:
        limit = None if together and not task.operation.is_batched else task.operation.max_batch
        joins = (
            bool(run)
            and run[-1].operation is task.operation
            and (together or task.operation.is_batched)
            and (limit is None or len(run) < limit)
        )
        if run and not joins:
            yield Line(run[0].operation, tuple(run), any(map(retried, run)))
            run = []
        run.append(task)
    if run:
        yield Line(run[0].operation, tuple(run), any(map(retried, run)))


def parcels_of(
    elements: Sequence[Element], *, arrays: bool = True, smallest: int = 2, largest: int | None = None
) -> list[Parcel]:
    """Put elements that ask for the same, and wait for the same, into arrays; link what waits for what.

    Parameters
    ----------
    arrays
        Whether there are arrays at all.
    smallest, largest
        How many elements an array may have; no limit above for None.
    """
    home: dict[TaskKey, tuple[Parcel, int]] = {}
    done: list[Parcel] = []
    left = list(elements)
    own = {task.key for element in left for task in element.tasks}
    while left:
        # Level by level: everything that an element waits for lies in a parcel by then.
        # Bundles that wait for each other start without waiting: their tasks ask their conditions themselves.
        ready = [one for one in left if all(key in home for key in one.after & own)] or left
        groups: dict[object, list[Element]] = {}
        for number, element in enumerate(ready):
            before = frozenset(id(home[key][0]) for key in element.after if key in home)
            single = element.lines[0].operation.name != element.lines[-1].operation.name or not arrays
            key: object = number if single else (element.shape, before, element.after - own)
            groups.setdefault(key, []).append(element)
        for group in groups.values():
            size = largest or len(group)
            for first in range(0, len(group), size):
                chunk = group[first : first + size]
                for part in [chunk] if len(chunk) >= max(smallest, 2) else [[one] for one in chunk]:
                    done.append(_linked(part, home, own))
        taken = set(map(id, ready))
        left = [one for one in left if id(one) not in taken]
    return done


def _linked(elements: list[Element], home: dict[TaskKey, tuple[Parcel, int]], own: set[TaskKey]) -> Parcel:
    parcel = Parcel(elements)
    wants: dict[Parcel, list[set[int]]] = {}
    for number, element in enumerate(elements):
        for key in element.after & own & home.keys():
            before, index = home[key]
            wants.setdefault(before, [set() for _ in elements])[number].add(index)
        parcel.outside |= element.after - own
    for before, indices in wants.items():
        alike = len(before.elements) == len(elements) > 1
        if alike and all(found <= {number} for number, found in enumerate(indices)):
            parcel.elementwise.append(before)
        else:
            parcel.whole.append(before)
    for number, element in enumerate(elements):
        for task in element.tasks:
            home[task.key] = (parcel, number)
    return parcel
