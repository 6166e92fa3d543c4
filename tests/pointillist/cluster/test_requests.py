"""What a request may say, and what it adds up to."""

from __future__ import annotations

import pytest

from pointillist.cluster.errors import RequestError
from pointillist.cluster.schedulers.commands import changed_environment
from pointillist.cluster.schedulers.requests import Array, Request, element_id, split_id


def test_totals_are_of_the_whole_job() -> None:
    request = Request(name="a", processes=3, threads_per_process=4, gpus_per_process=2, memory_per_core_bytes=10)
    assert (request.cores, request.total_gpus, request.total_memory_bytes) == (12, 6, 120)
    assert Request(name="a", processes=3, gpus=1).total_gpus == 1


@pytest.mark.parametrize(
    "wish",
    [
        {"processes": 0},
        {"threads_per_process": 0},
        {"walltime_s": 0},
        {"gpus": -1},
        {"memory_bytes": 1, "memory_per_core_bytes": 1},
        {"gpus": 1, "gpus_per_process": 1},
    ],
)
def test_request_that_makes_no_sense_is_refused(wish: dict[str, int]) -> None:
    with pytest.raises(RequestError):
        Request(name="a", **wish)


@pytest.mark.parametrize("wish", [{"count": 0}, {"count": 2, "limit": 0}])
def test_array_that_makes_no_sense_is_refused(wish: dict[str, int]) -> None:
    with pytest.raises(RequestError):
        Array(**wish)


@pytest.mark.parametrize("one", ["7", "7.head", "7.head-a.site"])
def test_ids_of_elements_are_taken_apart(one: str) -> None:
    assert split_id(one) == (one, None)
    assert split_id(element_id(one, 12)) == (one, 12)


def test_environment_is_changed_in_a_copy() -> None:
    base = {"SQUEUE_STATES": "R", "SQUEUE_USERS": "a", "HOME": "/h", "X": "1"}
    assert changed_environment(base, {"SQUEUE_*": None, "X": None, "Y": "2"}) == {"HOME": "/h", "Y": "2"}
    assert base["X"] == "1"
