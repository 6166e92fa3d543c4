"""Grids are the products of their axes."""

from __future__ import annotations

import pytest

from pointillist import grid


def test_grid_varies_the_last_parameter_fastest() -> None:
    assert grid(a=[1, 2], b="xy", c=(3, 4)) == [
        {"a": 1, "b": "xy", "c": 3},
        {"a": 1, "b": "xy", "c": 4},
        {"a": 2, "b": "xy", "c": 3},
        {"a": 2, "b": "xy", "c": 4},
    ]


def test_a_parameter_without_values_is_named() -> None:
    with pytest.raises(ValueError, match="no value for 'seed'") as caught:
        grid(a=[1, 2], seed=[], b=range(0, 3))
    assert "'a'" not in str(caught.value)
    assert grid() == [{}]
