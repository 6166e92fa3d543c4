"""How tasks of one batched operation are shared out. Decides; touches nothing."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def share(tasks: Sequence[T], weights: Sequence[float], shares: int, limit: int | None) -> list[T]:
    """Return the part of ``tasks`` that one of ``shares`` workers should take now.

    The heaviest tasks are dealt first, each to the lightest hand, so that all hands end at about the same time. What is
    returned keeps the order of ``tasks`` and holds at most ``limit`` of them.

    Parameters
    ----------
    tasks
        All tasks that could be taken.
    weights
        How long each is expected to take, in any unit.
    shares
        How many workers there will be to share the tasks, this one included.
    limit
        The largest batch; None for no limit.
    """
    hands: list[tuple[float, int, list[int]]] = [(0.0, number, []) for number in range(max(1, shares))]
    for index in sorted(range(len(tasks)), key=lambda i: -weights[i]):
        load, number, hand = heapq.heappop(hands)
        hand.append(index)
        heapq.heappush(hands, (load + weights[index], number, hand))
    mine = sorted(next(hand for _, number, hand in hands if number == 0))
    return [tasks[index] for index in mine[:limit]]
