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


def _tags(definition: Definition, operation: Operation, conditions: tuple[Condition, ...]) -> set[object]:
    found: set[object] = set()
    for condition in conditions:
        if isinstance(condition, Copied):
            for function in condition.functions:
                other = definition.operation_of(function)
                found |= _tags(definition, other, other.post if condition.kind == "post" else other.pre)
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
