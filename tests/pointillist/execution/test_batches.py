from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pointillist.execution.running.batches import share


def deal(weights: list[float], shares: int) -> list[list[int]]:
    """Let each of several workers take its share in turn, as a run does."""
    left, dealt = list(range(len(weights))), []
    for remaining in range(shares, 0, -1):
        taken = share(left, [weights[i] for i in left], remaining, None)
        left = [i for i in left if i not in taken]
        dealt.append(taken)
    assert not left
    return dealt


@given(st.lists(st.floats(0.01, 100), max_size=40), st.integers(1, 6))
def test_every_task_is_dealt_once_and_no_hand_is_much_heavier(weights: list[float], shares: int) -> None:
    dealt = deal(weights, shares)
    assert sorted(i for hand in dealt for i in hand) == list(range(len(weights)))
    loads = [sum(weights[i] for i in hand) for hand in dealt]
    # Graham's bound for the greedy deal: no hand exceeds the mean by more than one task.
    assert max(loads) <= sum(weights) / shares + max(weights, default=0) + 1e-9


def test_equal_tasks_are_shared_evenly() -> None:
    assert sorted(len(hand) for hand in deal([1.0] * 18, 2)) == [9, 9]


def test_limit_caps_a_batch() -> None:
    assert share(list("abcdef"), [1.0] * 6, 1, 4) == list("abcd")


def test_a_share_keeps_the_order_of_the_tasks() -> None:
    assert share(list("abc"), [1.0, 5.0, 2.0], 1, None) == list("abc")
