"""The registry of one project class: what its decorators declared, in the order they did.

Each subclass of ``FlowProject`` has a registry of its own; :func:`collect` merges those along the inheritance. The
two orders of decorators (operation innermost or outermost) meet here: conditions are kept by function, apart from
operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pointillist.definition.aggregates import EACH_JOB, aggregator
from pointillist.definition.conditions import (
    Condition,
    Copied,
    Never,
    as_condition,
    false,
    has_keys,
    isfile,
    not_,
    true,
)
from pointillist.definition.labels import Label
from pointillist.definition.operations import Operation
from pointillist.errors import DefinitionError, near_matches

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Registry:
    """What one class declared itself, its parents left out."""

    operations: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = field(default_factory=dict)
    labels: dict[str, Label] = field(default_factory=dict)
    conditions: dict[str, dict[Callable[..., Any], list[Condition]]] = field(
        default_factory=lambda: {"pre": {}, "post": {}}
    )


@dataclass(frozen=True)
class Definition:
    """Everything a project declares, parents included."""

    operations: dict[str, Operation]
    labels: dict[str, Label]

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        """Return the operation a function was declared as."""
        for operation in self.operations.values():
            if operation.function is function:
                return operation
        raise DefinitionError(
            f"{getattr(function, '__name__', function)} is not an operation of this project.",
            hint=near_matches(getattr(function, "__name__", ""), self.operations),
        )


def collect(registries: Iterable[Registry]) -> Definition:
    """Merge registries along the inheritance, the subclass first: its conditions add to those of its parents."""
    registries = list(registries)
    operations: dict[str, Operation] = {}
    labels: dict[str, Label] = {}
    for registry in registries:
        for name, (function, options) in registry.operations.items():
            if name in operations:
                raise DefinitionError(f"The operation {name} is declared in a class and again in its parent.")
            operations[name] = Operation(
                name=name,
                function=function,
                pre=_conditions(registries, "pre", function),
                post=_conditions(registries, "post", function),
                **options,
            )
        for name, label in registry.labels.items():
            labels.setdefault(name, label)
    definition = Definition(operations, labels)
    for operation in operations.values():
        for condition in (*operation.pre, *operation.post):
            if isinstance(condition, Copied):
                for function in condition.functions:
                    definition.operation_of(function)
    return definition


def _conditions(registries: list[Registry], kind: str, function: Callable[..., Any]) -> tuple[Condition, ...]:
    return tuple(c for registry in registries for c in registry.conditions[kind].get(function, ()))


class OperationDecorator:
    """``@FlowProject.operation``, with or without arguments."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(
        self,
        func: Callable[..., Any] | str | None = None,
        name: str | None = None,
        *,
        cmd: bool = False,
        with_job: bool = False,
        directives: dict[str, Any] | None = None,
        aggregator: aggregator | None = None,
        batch: int | bool = 1,
    ) -> Any:
        """Declare a function as an operation.

        Parameters
        ----------
        func, name
            The function, when used as a plain decorator; the operation's name, by default the function's.
        cmd
            The function returns a shell command that is run, instead of doing the work itself.
        with_job
            Run inside the job's folder.
        directives
            What a task asks of the machine (``walltime`` in hours, ...); values may be functions of the jobs.
        aggregator
            Which jobs one task works on together; by default each job on its own.
        batch
            How many tasks one process may work through: the function is then called with several jobs. True: as many
            as suit. Each job stays a task of its own, judged by its own post-conditions.
        """
        if isinstance(func, str):
            func, name = None, func
        options = {
            "cmd": bool(cmd),
            "with_job": bool(with_job),
            "directives": dict(directives or {}),
            "aggregator": EACH_JOB if aggregator is None else aggregator,
            "batch": batch,
        }

        def declare(function: F) -> F:
            self._declare(function, name or function.__name__, options)
            return function

        return declare if func is None else declare(func)

    def _declare(self, function: Callable[..., Any], name: str, options: dict[str, Any]) -> None:
        known = self._registry.operations
        if name in known:
            raise DefinitionError(f"There are two operations named {name}.", hint="Rename one, or pass name=...")
        if any(function is other for other, _ in known.values()):
            raise DefinitionError(f"The function {function.__name__} is declared as an operation twice.")
        for conditions in self._registry.conditions.values():
            for declared in conditions.values():
                if any(getattr(c, "function", None) is function for c in declared):
                    raise DefinitionError(f"{name} can't be an operation: it is used as a condition already.")
        known[name] = (function, options)


class ConditionDecorator:
    """``@FlowProject.pre`` and ``@FlowProject.post``, and the conditions that hang on them."""

    def __init__(self, registry: Registry, kind: str) -> None:
        self._registry = registry
        self._kind = kind

    def __call__(self, condition: Any, tag: Any = None) -> Callable[[F], F]:
        """Demand a condition, any function of the jobs, before (``pre``) or after (``post``) the operation."""
        if any(condition is function for function, _ in self._registry.operations.values()):
            raise DefinitionError(
                f"The operation {condition.__name__} can't be a condition.",
                hint=f"Write pre.after({condition.__name__}) to wait for it.",
            )
        claim = as_condition(condition, tag)

        def attach(function: F) -> F:
            # Decorators run from the bottom up; what is written first is asked first.
            self._registry.conditions[self._kind].setdefault(function, []).insert(0, claim)
            return function

        return attach

    def isfile(self, filename: str) -> Callable[[F], F]:
        """Demand that each job folder holds the file."""
        return self(isfile(filename))

    def true(self, key: str) -> Callable[[F], F]:
        """Demand that the key of each job document has a true value."""
        return self(true(key))

    def false(self, key: str) -> Callable[[F], F]:
        """Demand that the key of each job document has a false value or is absent."""
        return self(false(key))

    def has_keys(self, filename: str, *keys: str) -> Callable[[F], F]:
        """Demand that a JSON file of each job is an object with all of the keys."""
        return self(has_keys(filename, keys))

    def not_(self, condition: Any) -> Callable[[F], F]:
        """Demand the opposite of a condition."""
        return self(not_(condition))

    def never(self, function: F) -> F:
        """Demand the impossible: an operation that never runs, or is never complete."""
        return self(Never())(function)

    def copy_from(self, *functions: Callable[..., Any]) -> Callable[[F], F]:
        """Demand all conditions of this kind that the other operations demand."""
        return self(Copied(functions, self._kind))


class PreDecorator(ConditionDecorator):
    """``@FlowProject.pre``."""

    def __init__(self, registry: Registry) -> None:
        super().__init__(registry, "pre")

    def after(self, *functions: Callable[..., Any]) -> Callable[[F], F]:
        """Demand that the other operations are complete: all their post-conditions hold."""
        return self(Copied(functions, "post"))


class LabelDecorator:
    """``@FlowProject.label``, with or without a name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, function: Any = None, name: str | None = None) -> Any:
        """Declare a function or condition of one job as a label.

        ``FlowProject.label("done")(isfile("result.json"))`` names a condition; it comes back unchanged, so that it can
        serve as a pre- or post-condition too.
        """
        if isinstance(function, str):
            function, name = None, function

        def declare(function: F) -> F:
            text = name or getattr(function, "__name__", None)
            if text is None:
                raise DefinitionError(
                    f"A label made of a condition ({function}) needs a name.",
                    hint='Write label("name")(condition).',
                )
            if text in self._registry.labels:
                raise DefinitionError(f"There are two labels named {text}.")
            self._registry.labels[text] = Label(text, function)
            return function

        return declare if function is None else declare(function)
