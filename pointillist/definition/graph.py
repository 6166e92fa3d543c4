"""The graph of operations: which one waits for what which other achieves, as far as their conditions tell."""

from __future__ import annotations

from pointillist.definition.conditions import Condition, Copied, Function, Never, Not
from pointillist.definition.operations import Operation
from pointillist.definition.registry import Definition


def adjacency(definition: Definition) -> list[list[int]]:
    """Return a matrix with a 1 where the column's operation waits for a condition that the row's one achieves.

    Raises
    ------
    RuntimeError
        When a condition can't be told from others, because it has no code of its own and no tag.
    """
    operations = list(definition.operations.values())
    achieved = [_tags(definition, operation, operation.post) for operation in operations]
    awaited = [_tags(definition, operation, operation.pre) for operation in operations]
    return [[int(not post.isdisjoint(pre)) for pre in awaited] for post in achieved]


def depths(definition: Definition) -> dict[str, int]:
    """Return how many operations, one after the other, each operation waits for.

    As far as its conditions tell, and of operations that are declared before it.
    """
    found: dict[str, int] = {}
    achieved: dict[str, set[Condition]] = {}
    for name, operation in definition.operations.items():
        awaited = _parts(definition, operation.pre)
        functions = {f for c in awaited if isinstance(c, Copied) and c.kind == "post" for f in c.functions}
        before = (
            found[other] + 1
            for other, posts in achieved.items()
            if definition.operations[other].function in functions or posts & awaited
        )
        found[name] = max(before, default=0)
        achieved[name] = _parts(definition, operation.post)
    return found


def _parts(definition: Definition, conditions: tuple[Condition, ...]) -> set[Condition]:
    """Return conditions, and those of other operations that they stand for."""
    found: set[Condition] = set()
    for condition in conditions:
        if isinstance(condition, Copied):
            for function in condition.functions:
                found |= _parts(definition, condition.conditions(definition.operation_of(function)))
        found.add(condition)
    return found


def _tags(definition: Definition, operation: Operation, conditions: tuple[Condition, ...]) -> set[object]:
    found: set[object] = set()
    for condition in conditions:
        if isinstance(condition, Copied):
            for function in condition.functions:
                other = definition.operation_of(function)
                found |= _tags(definition, other, condition.conditions(other))
        elif isinstance(condition, Never):
            continue
        else:
            found.add(_tag(operation, condition))
    return found


def _tag(operation: Operation, condition: Condition) -> object:
    if isinstance(condition, Not) and condition.tag is None:
        return "not", _tag(operation, condition.condition)
    if condition.tag is not None:
        return condition.tag
    if isinstance(condition, Function):
        raise RuntimeError(
            f"The condition {condition} of {operation.name} can't be told from others: it has no code of its own. "
            f"Give it a tag: pre({condition}, tag='...')."
        )
    return condition
