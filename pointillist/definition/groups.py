"""Groups: several operations under one name, with an aggregator, directives and options of their own.

Each operation is a group of itself too. Selecting a group selects its operations, on the group's aggregates and with
the group's directives. Also owns the id under which a group's work on an aggregate is known to schedulers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

from pointillist.definition.aggregates import EACH_JOB, aggregator
from pointillist.definition.directives import checked_directives
from pointillist.definition.marks import plain
from pointillist.definition.older import OlderGroup
from pointillist.definition.operations import Operation
from pointillist.errors import DefinitionError, OverlapError, PatternError, SelectionError, near_matches

F = TypeVar("F", bound=Callable[..., Any])
MAX_ID = 100


@dataclass
class GroupDecorator:
    """A group as it is declared; a decorator for the operations that belong to it.

    ``@group`` or ``@group(directives={...})``, above or below ``@FlowProject.operation``.
    """

    name: str
    submit_options: str = ""
    run_options: str = ""
    aggregator: aggregator = EACH_JOB
    members: dict[Callable[..., Any], dict[str, Any] | None] = field(default_factory=dict)

    def __call__(self, func: Any = None, /, *, directives: Mapping[str, Any] | None = None) -> Any:
        """Put an operation into the group, with directives of its own there when some are given."""
        if func is None:
            return lambda function: self(function, directives=directives)
        if plain(func) in self.members:
            raise DefinitionError(f"The operation {func.__name__} is in the group {self.name} twice.")
        self.members[plain(func)] = checked_directives(f"the group {self.name}", directives)
        return func

    def with_directives(self, directives: Mapping[str, Any]) -> Callable[[F], F]:
        """Put an operation into the group with directives; the older form of ``@group(directives=...)``."""
        decorate: Callable[[F], F] = self(directives=directives)
        return decorate


@dataclass
class Group(OlderGroup):
    """Operations that are selected and submitted together.

    Parameters
    ----------
    name
        Unique among groups and operations.
    operations
        The operations by name, as they run within this group.
    operation_directives
        Directives an operation has within this group, instead of its own.
    submit_options, run_options
        Appended to the ``run`` line that a scheduler gets, and to the ``exec`` line of each operation.
    aggregator
        Which jobs make up a task of the group.
    """

    MAX_LEN_ID: ClassVar[int] = MAX_ID

    name: str
    operations: dict[str, Operation] = field(default_factory=dict)
    operation_directives: dict[str, dict[str, Any]] = field(default_factory=dict)
    submit_options: str = ""
    run_options: str = ""
    aggregator: aggregator = EACH_JOB

    def add_operation(self, name: str, operation: Operation, directives: Mapping[str, Any] | None = None) -> None:
        """Put an operation into the group."""
        self.operations[name] = operation
        if directives is not None:
            self.operation_directives[name] = dict(directives)

    def isdisjoint(self, group: Group) -> bool:
        """Say whether two groups have no operation in common."""
        return self.operations.keys().isdisjoint(group.operations)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, operations={list(self.operations)},"
            f" operation_directives={self.operation_directives}, submit_options={self.submit_options!r},"
            f" run_options={self.run_options!r})"
        )


def matching(pattern: str, names: Iterable[str]) -> set[str]:
    """Return the names that a regular expression matches in full; a name also matches itself.

    Raises
    ------
    PatternError
        When it is no regular expression.
    """
    try:
        return {name for name in names if name == pattern or re.fullmatch(pattern, name)}
    except re.error as error:
        raise PatternError(f"The operation pattern {pattern!r} is no regular expression: {error}.") from error


def choose(patterns: Iterable[str], groups: Mapping[str, Group], *, may_overlap: bool = False) -> list[Group]:
    """Return the groups (an operation is one, too) whose names match regular expressions in full.

    Raises
    ------
    SelectionError
        When an expression matches nothing; ``PatternError`` when it is none.
    OverlapError
        When two of the groups share an operation, unless ``may_overlap``.
    """
    chosen: set[str] = set()
    for pattern in patterns:
        found = matching(pattern, groups)
        if not found:
            raise SelectionError(
                f"There is no operation {pattern!r}.",
                hint=near_matches(pattern, groups) or "`python project.py status` lists the operations.",
            )
        chosen |= found
    result = [group for name, group in groups.items() if name in chosen]
    if not may_overlap:
        owner: dict[str, str] = {}
        for group in result:
            for name in group.operations:
                if name in owner:
                    raise OverlapError(
                        f"{owner[name]} and {group.name} are selected both, and both hold the operation {name}.",
                        hint="Select one of them.",
                    )
                owner[name] = group.name
    return result


def job_operation_id(
    class_name: str, project_path: str, aggregate_id: str, operations: Collection[str], separator: str = "/"
) -> str:
    """Return the id of some operations on an aggregate: the name that their cluster job has.

    The same as signac-flow's, so that work that it has submitted is recognised in the queue.
    """
    text = "".join(sorted(operations))
    digest = hashlib.md5(f"{project_path}%{aggregate_id}%{text}".encode(), usedforsecurity=False).hexdigest()
    readable = separator.join([class_name[:12], aggregate_id, text[:12]]) + separator
    return readable[: MAX_ID - len(digest)] + digest
