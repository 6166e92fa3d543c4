"""The registry of one project class: what its decorators declared, in the order they did.

Each subclass of ``FlowProject`` has a registry of its own; :func:`collect` merges those along the inheritance. The
two orders of decorators (operation innermost or outermost) meet here: conditions, hooks, groups and marks are kept by
function, apart from operations.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import FunctionType
from typing import Any
from weakref import WeakSet

from pointillist.definition.aggregates import EACH_JOB
from pointillist.definition.conditions import Condition, Copied
from pointillist.definition.elsewhere import Archived, Reproduction
from pointillist.definition.groups import Group, GroupDecorator, choose
from pointillist.definition.hooks import HookChain, Hooks
from pointillist.definition.labels import Label
from pointillist.definition.marks import marks_of
from pointillist.definition.operations import Operation
from pointillist.errors import DefinitionError, near_matches


@dataclass(eq=False)
class Registry:
    """What one class declared itself, its parents left out; ``heirs`` are the registries of its subclasses."""

    operations: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = field(default_factory=dict)
    labels: list[Label] = field(default_factory=list)
    conditions: dict[str, dict[Callable[..., Any], list[Condition]]] = field(
        default_factory=lambda: {"pre": {}, "post": {}}
    )
    groups: dict[str, GroupDecorator] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    """Of operations and groups, in the order in which they were declared."""
    hooks: dict[Callable[..., Any], Hooks] = field(default_factory=dict)
    reproduction: Reproduction | None = None
    archived: Archived | None = None
    heirs: WeakSet[Registry] = field(default_factory=WeakSet)


@dataclass(frozen=True)
class Definition:
    """Everything a project declares, parents included.

    A command that is about a part of it, or that bends it (operations of a group, ignored conditions), works on a
    definition with other ``operations``; conditions that speak of operations go on meaning those in ``declared``.
    """

    operations: dict[str, Operation]
    labels: list[Label]
    groups: dict[str, Group] = field(default_factory=dict)
    """Every group, each operation's own included."""
    declared: dict[str, Operation] = field(default_factory=dict)

    def operation_of(self, function: Callable[..., Any]) -> Operation:
        """Return the operation a function was declared as."""
        for operation in (self.declared or self.operations).values():
            if operation.function is function:
                return operation
        raise DefinitionError(
            f"{getattr(function, '__name__', function)} is not an operation of this project.",
            hint=near_matches(getattr(function, "__name__", ""), self.operations),
        )

    def only(self, group: Group) -> Definition:
        """Return the part that consists of one group."""
        return replace(self, operations=dict(group.operations), declared=self.declared or self.operations)

    def chosen(
        self,
        patterns: Iterable[str] | None = None,
        *,
        without_pre: bool = False,
        without_post: bool = False,
        may_overlap: bool = False,
    ) -> Definition:
        """Return the part that names of operations and groups select (regular expressions; None: every operation).

        Parameters
        ----------
        patterns
            A group gives its operations with the group's aggregator, directives and options.
        without_pre, without_post
            Let tasks be eligible whatever their pre- or post-conditions say.
        may_overlap
            Allow selected groups to share operations; the first then has them.

        Raises
        ------
        SelectionError
            When a pattern matches nothing; ``OverlapError`` when selected groups share an operation.
        """
        if patterns is None:
            operations = dict(self.operations)
        else:
            operations = {}
            for group in choose(patterns, self.groups, may_overlap=may_overlap):
                for name, operation in group.operations.items():
                    operations.setdefault(name, operation)
        if without_pre:
            operations = {name: replace(operation, pre=()) for name, operation in operations.items()}
        if without_post:
            operations = {name: replace(operation, post=()) for name, operation in operations.items()}
        return replace(self, operations=operations, declared=self.declared or self.operations)


def collect(
    registries: Iterable[Registry], *, methods: Iterable[Label] = (), project: Any = None, hooks: Hooks | None = None
) -> Definition:
    """Merge registries along the inheritance, the subclass first: its conditions add to those of its parents.

    Parameters
    ----------
    registries
        Of a class and its parents.
    methods
        Labels that are methods of the project.
    project
        Labels that are functions of a project and a job get this one.
    hooks
        Hooks that concern every operation.
    """
    registries = list(registries)
    operations: dict[str, Operation] = {}
    labels: list[Label] = []
    for registry in registries:
        for name, (function, options) in registry.operations.items():
            if name in operations:
                raise DefinitionError(f"The operation {name} is declared in a class and again in its parent.")
            operations[name] = Operation(
                name=name,
                function=function,
                pre=_conditions(registries, "pre", function),
                post=_conditions(registries, "post", function),
                hooks=HookChain([hooks or Hooks(), *(r.hooks[function] for r in registries if function in r.hooks)]),
                **_with_marks(function, options),
            )
        labels += (label.bound_to(project) for label in registry.labels)
    labels += (label for label in methods if label not in labels)
    _refuse_strays(registries, operations)
    definition = Definition(operations, labels, _groups(registries, operations))
    _refuse_circles(definition)
    return definition


def _conditions(registries: list[Registry], kind: str, function: Callable[..., Any]) -> tuple[Condition, ...]:
    return tuple(c for registry in registries for c in registry.conditions[kind].get(function, ()))


def _with_marks(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of an operation, with what older decorators noted on its function."""
    marks = marks_of(function)
    return dict(options) | {
        "cmd": options["cmd"] or marks.get("cmd", False),
        "with_job": options["with_job"] or marks.get("with_job", False),
        "directives": {**marks.get("directives", {}), **options["directives"]},
        "aggregator": marks.get("aggregator", EACH_JOB) if options["aggregator"] is None else options["aggregator"],
    }


def _refuse_strays(registries: list[Registry], operations: dict[str, Operation]) -> None:
    """Refuse conditions of a function that is no operation, nor one of a subclass, and mention its hooks.

    Nobody would ask such conditions. Hooks that nobody calls change nothing, and signac-flow lets them be.
    """
    own = {operation.function for operation in operations.values()}
    for registry in registries:
        functions = own | {function for heir in registry.heirs for function, _ in heir.operations.values()}
        for function in [*registry.conditions["pre"], *registry.conditions["post"]]:
            if function not in functions:
                raise DefinitionError(
                    f"{function.__name__} has conditions, but it is no operation of this project.",
                    hint="Decorate it with @FlowProject.operation, too.",
                )
        for function in registry.hooks:
            if function not in functions and isinstance(function, FunctionType):
                words = f"{function.__name__} has hooks, which nobody calls: it is no operation of this project."
                code = function.__code__
                warnings.warn_explicit(words, UserWarning, code.co_filename, code.co_firstlineno)


def _refuse_circles(definition: Definition) -> None:
    """Refuse conditions copied from what is no operation, or in the end from themselves: they would have no answer."""
    known: set[tuple[str, str]] = set()

    def follow(operation: Operation, kind: str, above: tuple[tuple[str, str], ...]) -> None:
        key = operation.name, kind
        if key in above:
            way = " from ".join(name for name, _ in (*above[above.index(key) + 1 :], key))
            raise DefinitionError(
                f"The {kind}-conditions of {operation.name} are copied from {way}: from themselves.",
                hint="Take one of copy_from and after away.",
            )
        if key in known:
            return
        for condition in operation.pre if kind == "pre" else operation.post:
            if isinstance(condition, Copied):
                for function in condition.functions:
                    follow(definition.operation_of(function), condition.kind, (*above, key))
        known.add(key)

    for operation in definition.operations.values():
        for kind in ("pre", "post"):
            follow(operation, kind, ())


def _groups(registries: list[Registry], operations: dict[str, Operation]) -> dict[str, Group]:
    """Return every group: each operation by itself, then the declared ones."""
    groups = {
        name: Group(name, {name: o}, {name: dict(o.directives)}, aggregator=o.aggregator)
        for name, o in operations.items()
    }
    names = {operation.function: name for name, operation in operations.items()}
    for registry in registries:
        for declared in registry.groups.values():
            if declared.name in operations:
                raise DefinitionError(f"There are a group and an operation named {declared.name}.", hint="Rename one.")
            if declared.name in groups:
                raise DefinitionError(f"The group {declared.name} is declared in a class and again in its parent.")
            group = Group(
                declared.name,
                submit_options=declared.submit_options,
                run_options=declared.run_options,
                aggregator=declared.aggregator,
            )
            for function in declared.members:
                if function not in names:
                    raise DefinitionError(
                        f"{function.__name__} is in the group {declared.name}, but it is no operation of this project.",
                        hint="Decorate it with @FlowProject.operation, too.",
                    )
            for name, operation in operations.items():  # in the order of the operations, whatever the order of groups
                if operation.function not in declared.members:
                    continue
                directives = declared.members[operation.function]
                bent = replace(
                    operation,
                    aggregator=declared.aggregator,
                    directives=operation.directives if directives is None else directives,
                    run_options=declared.run_options,
                )
                group.add_operation(name, bent, directives)
            groups[group.name] = group
    return groups
