"""Grids are the products of their axes."""

from __future__ import annotations

from pointillist import grid


def test_grid_varies_the_last_parameter_fastest() -> None:
    assert grid(a=[1, 2], b="xy", c=(3, 4)) == [
        {"a": 1, "b": "xy", "c": 3},
        {"a": 1, "b": "xy", "c": 4},
        {"a": 2, "b": "xy", "c": 3},
        {"a": 2, "b": "xy", "c": 4},
    ]
