"""What is submitted as one: a task, or a group of operations on one aggregate.

A group that was named goes up as one task of its own: one line, ``run -o GROUP``, that does what is eligible in the
group until nothing is, and asks for what its operations need one after another. Decides; touches nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pointillist.definition.directives import combine
from pointillist.definition.groups import Group, choose
from pointillist.definition.operations import Operation
from pointillist.execution.commands import directives_of
from pointillist.execution.submitting.needs import Needs, needs_of, one_after_another
from pointillist.state.plan import Plan
from pointillist.state.tasks import State, Task, TaskKey

if TYPE_CHECKING:
    from pointillist.definition.registry import Definition


def chosen_groups(definition: Definition, names: Iterable[str] | None) -> list[Group]:
    """Return the groups, other than single operations, that a user has named."""
    if names is None:
        return []
    return [group for group in choose(names, definition.groups) if group.name not in definition.operations]


class Units:
    """Tasks, and groups of tasks that go up as one; a group on an aggregate looks like a task.

    Parameters
    ----------
    plan
        Knows the tasks; its operations are as the groups have them.
    groups
        The groups that go up as one.
    """

    def __init__(self, plan: Plan, groups: Iterable[Group] = ()) -> None:
        self._plan = plan
        self._groups = {group.name: group for group in groups}
        self._group_of = {name: group for group in self._groups.values() for name in group.operations}
        self._operations = {
            name: Operation(name=name, function=_nothing, directives={}, aggregator=group.aggregator)
            for name, group in self._groups.items()
        }
        self._known: dict[object, tuple[dict[str, Any], Needs]] = {}
        self._varying: dict[str, bool] = {}

    def of(self, task: Task) -> Task:
        """Return the unit that a task goes up in: itself, or its group."""
        group = self._group_of.get(task.operation.name)
        return task if group is None else Task(self._operations[group.name], task.aggregate)

    def gathered(
        self, tasks: Sequence[Task], after: Mapping[TaskKey, set[TaskKey]]
    ) -> tuple[list[Task], dict[TaskKey, set[TaskKey]]]:
        """Return units in the order of their first tasks, and what each waits for outside of itself.

        A group of which a task is on the cluster already is left where it is.
        """
        if not self._groups:
            return list(tasks), dict(after)
        units: dict[TaskKey, Task] = {}
        waits: dict[TaskKey, set[TaskKey]] = {}
        for task in tasks:
            unit = self.of(task)
            if any(self._plan.on_cluster(one.key) for one in self._all_members(unit)):
                continue
            units[unit.key] = unit
            before = {self._key_of(key) for key in after.get(task.key, ())}
            waits.setdefault(unit.key, set()).update(before - {unit.key})
        return list(units.values()), waits

    def members(self, unit: Task, *, failed_too: bool) -> list[Task]:
        """Return the tasks that a unit will do: of a group all that are open."""
        if unit.operation.name not in self._groups:
            return [unit]
        wanted = {State.ELIGIBLE, State.WAITING} | ({State.FAILED} if failed_too else set())
        return [task for task in self._all_members(unit) if self._plan.state(task) in wanted]

    def operations(self, unit: Task) -> list[str]:
        """Return the names of a unit's operations."""
        group = self._groups.get(unit.operation.name)
        return [unit.operation.name] if group is None else list(group.operations)

    def submit_options(self, unit: Task) -> str:
        """Return what a user wants at the end of the line that does a unit."""
        group = self._groups.get(unit.operation.name)
        return "" if group is None else group.submit_options.strip()

    def directives(self, unit: Task) -> dict[str, Any]:
        """Return the evaluated directives of a unit, for templates."""
        return self._of(unit)[0]

    def needs(self, unit: Task) -> Needs:
        """Return what a unit needs."""
        return self._of(unit)[1]

    def declared(self, unit: Task) -> set[str]:
        """Return the keys of the directives that a user has given to a unit."""
        return {key for task in self._all_members(unit) for key in task.operation.directives}

    def _all_members(self, unit: Task) -> list[Task]:
        group = self._groups.get(unit.operation.name)
        if group is None:
            return [unit]
        found = (self._plan.find(name, unit.aggregate.id) for name in group.operations)
        return [task for task in found if task is not None]

    def _key_of(self, key: TaskKey) -> TaskKey:
        group = self._group_of.get(key[0])
        return key if group is None or self._plan.on_cluster(key) else (group.name, key[1])

    def _of(self, unit: Task) -> tuple[dict[str, Any], Needs]:
        """Work directives and needs out; once an operation where they do not depend on the jobs."""
        name = unit.operation.name
        varies = self._varying.get(name)
        if varies is None:
            declared = [task.operation.directives.values() for task in self._all_members(unit)]
            varies = self._varying[name] = any(callable(value) for values in declared for value in values)
        key = unit.key if varies else name
        found = self._known.get(key)
        if found is None:
            directives = [directives_of(self._plan, task) for task in self._all_members(unit)]
            needs = [needs_of(one) for one in directives]
            together = needs[0] if len(needs) == 1 else one_after_another(needs)
            found = self._known[key] = combine(directives), together
        return found


def _nothing(*_: Any) -> None:
    """Stand for the function of a group, which has none of its own."""
