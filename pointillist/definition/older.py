"""What programs written for signac-flow's insides ask of operations, groups and project classes, by its private names.

Each is a thin face of what the engine has; nothing of the engine uses them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pointillist.definition.aggregates import get_aggregate_id
from pointillist.definition.directives import Directives, combine, evaluate
from pointillist.definition.ignoring import IgnoreConditions

if TYPE_CHECKING:
    from pointillist.definition.conditions import Condition
    from pointillist.definition.declarations import Declarations
    from pointillist.definition.operations import Operation

Jobs = tuple[Any, ...]


class OlderOperation:
    """Questions about some jobs, which nothing remembers the answers of."""

    pre: tuple[Condition, ...]
    post: tuple[Condition, ...]

    def _complete(self, jobs: Jobs) -> bool:
        return bool(self.post) and all(condition(*jobs) for condition in self.post)

    def _eligible(self, jobs: Jobs, ignore_conditions: IgnoreConditions = IgnoreConditions.NONE) -> bool:
        pre_hold = bool(ignore_conditions & IgnoreConditions.PRE) or all(condition(*jobs) for condition in self.pre)
        return pre_hold and (bool(ignore_conditions & IgnoreConditions.POST) or not self._complete(jobs))


class OlderGroup:
    """The same questions about the operations of a group, and what these ask for together."""

    operations: dict[str, Operation]

    def __iter__(self) -> Iterator[Operation]:
        return iter(self.operations.values())

    def _generate_id(self, aggregate: Jobs, operation_name: str | None = None) -> str:
        """Return the name of the cluster job for an aggregate."""
        names = self.operations if operation_name is None else [operation_name]
        name: str = aggregate[0].project._job_operation_id(get_aggregate_id(aggregate), names)
        return name

    def _complete(self, jobs: Jobs) -> bool:
        return all(operation._complete(jobs) for operation in self.operations.values())

    def _eligible(self, jobs: Jobs, ignore_conditions: IgnoreConditions = IgnoreConditions.NONE) -> bool:
        return any(operation._eligible(jobs, ignore_conditions) for operation in self.operations.values())

    def _get_submission_directives(self, default_directives: Mapping[str, Any], jobs: Jobs) -> Directives:
        """Return what the operations need one after another; the defaults are those of the engine."""
        operations = self.operations.values()
        return combine(evaluate(one.directives, lambda: jobs, operation=one.name) for one in operations)


class ConditionsByFunction:
    """``Project._collect_preconditions()``: the conditions of each function, those of parent classes included."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def __get__(self, _: object, cls: type[Declarations]) -> Callable[[], dict[Callable[..., Any], list[Condition]]]:
        def collect() -> dict[Callable[..., Any], list[Condition]]:
            found: dict[Callable[..., Any], list[Condition]] = {}
            for registry in cls._registries():
                for function, conditions in registry.conditions[self._kind].items():
                    found.setdefault(function, []).extend(conditions)
            return found

        return collect


class HooksByFunction:
    """``Project._OPERATION_HOOK_REGISTRY``: function -> name of the event -> hooks, of the class itself."""

    def __get__(
        self, _: object, cls: type[Declarations]
    ) -> dict[Callable[..., Any], dict[str, list[Callable[..., Any]]]]:
        own = cls._registries()[0]
        return {
            function: {event: list(of) for event, of in vars(hooks).items()} for function, hooks in own.hooks.items()
        }
