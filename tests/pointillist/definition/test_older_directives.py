"""Directives in the form of signac-flow's own programs."""

from __future__ import annotations

import datetime
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pointillist.definition.directives import combine, evaluate
from pointillist.definition.older_directives import default_directives
from pointillist.directives import (
    _MEMORY,
    _NGPU,
    _NP,
    _Directive,
    _Directives,
    _no_aggregation,
)
from pointillist.errors import DirectivesError


def of(**values: Any) -> _Directives:
    made = default_directives()
    made.update(values)
    return made


def test_defaults_are_those_of_the_engine() -> None:
    made = default_directives()
    assert dict(made) == dict(evaluate({}))
    assert made["executable"] == sys.executable
    assert made.user_keys == set()


@pytest.mark.parametrize("parallel", [False, True])
def test_combining_in_place_is_what_the_engine_does(parallel: bool) -> None:
    first = {"np": 3, "walltime": 2, "memory": "512m", "nranks": 2, "colour": "red"}
    second = {"omp_num_threads": 4, "walltime": 1, "ngpu": 1, "fork": True, "shade": "dark"}
    made = of(**first)
    made.update(of(**second), aggregate=True, parallel=parallel)
    expected = combine([evaluate(first), evaluate(second)], parallel=parallel)
    assert dict(made) == dict(expected)
    assert made["walltime"] == datetime.timedelta(hours=2 if parallel else 3)
    assert made.user_keys == {"colour", "shade"}


def test_values_are_checked_when_they_are_set() -> None:
    made = default_directives()
    with pytest.raises(DirectivesError, match="np can't be 0"):
        made["np"] = 0
    with pytest.raises(DirectivesError, match="no directive 'nodes'"):
        made._set_defined_directive("nodes", 1)
    made["nodes"] = 3
    assert (made["nodes"], made["np"], len(made)) == (3, 1, 10)


def test_np_follows_ranks_and_threads_unless_more_is_asked_for() -> None:
    assert of(nranks=2, omp_num_threads=3)["np"] == 6
    assert of(nranks=2, omp_num_threads=3, np=8)["np"] == 8


def test_functions_of_jobs_are_evaluated_in_place() -> None:
    made = of(np=lambda job: job.n, memory=2)
    with pytest.raises(RuntimeError, match="np is a function of jobs"):
        made.evaluate(None)
    made.evaluate((SimpleNamespace(n=5),))
    assert (made["np"], made["memory"]) == (5, 2.0)
    made["ngpu"] = lambda job: -1
    with pytest.raises(DirectivesError, match="ngpu can't be -1"):
        made.evaluate((SimpleNamespace(),))


def test_deleting_puts_a_known_one_back() -> None:
    made = of(np=5, own=1)
    del made["np"], made["own"]
    assert made["np"] == 1
    assert "own" not in made
    with pytest.raises(KeyError):
        del made["own"]


def test_kinds_of_ones_own() -> None:
    price = _Directive(
        "price",
        validator=int,
        default=10,
        serial=_no_aggregation,
        parallel=_no_aggregation,
        finalize=lambda value, others: value * others["np"],
    )
    made = _Directives([_NP, _NGPU, price])
    made.update({"price": "7", "np": 2})
    assert made["price"] == 14
    other = _Directives([_NP, _NGPU, price])
    made.update(other, aggregate=True)
    assert "price" in repr(made)
    with pytest.raises(ValueError, match="price already"):
        made._add_directive(price)
    with pytest.raises(TypeError, match="_Directive"):
        made._add_directive("price")
    made._add_directive(_MEMORY)
    assert made["memory"] is None
