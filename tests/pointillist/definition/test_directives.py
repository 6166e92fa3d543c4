from __future__ import annotations

import datetime
import sys
from typing import Any

import pytest

from pointillist.definition.directives import combine, evaluate
from pointillist.errors import DirectivesError

HOUR = datetime.timedelta(hours=1)


def test_what_is_not_declared_has_a_default() -> None:
    assert evaluate({}) == {
        "executable": sys.executable,
        "fork": False,
        "memory": None,
        "ngpu": 0,
        "np": 1,
        "nranks": 0,
        "omp_num_threads": 0,
        "processor_fraction": 1.0,
        "walltime": None,
    }


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("memory", 4, 4.0),
        ("memory", "4g", 4.0),
        ("memory", "4GB", 4.0),
        ("memory", "512m", 0.5),
        ("memory", "512MB", 0.5),
        ("memory", "0.5", 0.5),
        ("memory", None, None),
        ("walltime", 2.5, 2.5 * HOUR),
        ("walltime", HOUR, HOUR),
        ("walltime", None, None),
        ("np", "2", 2),
        ("nranks", 2.0, 2),
        ("fork", 1, True),
        ("processor_fraction", 0.5, 0.5),
        ("executable", "singularity exec x python", "singularity exec x python"),
        ("mem-per-cpu", object, object()),
    ],
)
def test_values_are_checked_and_normalised(key: str, value: Any, meant: Any) -> None:
    if key == "mem-per-cpu":  # the user's own: kept, whatever it is
        value = meant
    assert evaluate({key: value})[key] == meant


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("np", 0),
        ("np", "many"),
        ("ngpu", -1),
        ("nranks", -1),
        ("omp_num_threads", -2),
        ("processor_fraction", 2),
        ("memory", "4x"),
        ("memory", 0),
        ("memory", "."),
        ("memory", True),
        ("walltime", "1:00"),
        ("walltime", 0),
        ("walltime", True),
        ("walltime", float("inf")),
    ],
)
def test_impossible_values_are_refused_by_name(key: str, value: Any) -> None:
    with pytest.raises(DirectivesError, match=f"directive {key} of train"):
        evaluate({key: value}, operation="train")


def test_functions_get_the_jobs_and_are_not_called_otherwise() -> None:
    directives = {"np": lambda *jobs: len(jobs), "own": lambda *jobs: jobs[0]}
    assert evaluate(directives, lambda: ("a", "b")) | {} == evaluate({"np": 2, "own": "a"}) | {}


def test_cores_follow_from_ranks_and_threads() -> None:
    assert evaluate({"nranks": 3, "omp_num_threads": 2})["np"] == 6
    assert evaluate({"nranks": 3, "omp_num_threads": 2, "np": 4})["np"] == 4


def test_combined_one_after_the_other_or_at_once() -> None:
    a = evaluate({"np": 2, "ngpu": 1, "memory": 4, "walltime": 1, "fork": True, "own": "a"})
    b = evaluate({"np": 3, "walltime": 2, "nranks": 1, "own": "b", "second": 2})
    serial, parallel = combine([a, b]), combine([a, b], parallel=True)
    assert [serial[k] for k in ("np", "ngpu", "memory", "walltime", "nranks")] == [3, 1, 4, 3 * HOUR, 1]
    assert [parallel[k] for k in ("np", "ngpu", "memory", "walltime", "nranks")] == [5, 1, 4, 2 * HOUR, 1]
    for combined in (serial, parallel):
        assert combined["fork"] is True
        assert (combined["own"], combined["second"]) == ("a", 2)  # keys of the user's own are kept of every operation
