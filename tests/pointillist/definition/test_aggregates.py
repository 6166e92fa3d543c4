from __future__ import annotations

import hashlib
from typing import Any

import pytest

from pointillist import aggregator
from pointillist.definition.aggregates import aggregate_id


class Jobs:
    """A source of jobs that are nothing but an id and a state point."""

    def __init__(self, **statepoints: dict[str, Any]) -> None:
        self.statepoints = statepoints

    def statepoint(self, job_id: str) -> dict[str, Any]:
        return self.statepoints[job_id]

    def job(self, job_id: str) -> Any:
        return type("Job", (), {"id": job_id, "sp": self.statepoints[job_id]})

    def groups(self, how: aggregator) -> list[tuple[str, ...]]:
        return [aggregate.job_ids for aggregate in how.aggregates(self, sorted(self.statepoints))]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs(a={"x": 2, "y": "u"}, b={"x": 1, "y": "v"}, c={"x": 2, "y": "v"}, d={"x": 1, "y": "v", "z": 0})


def test_default_is_one_aggregate_of_all_jobs(jobs: Jobs) -> None:
    assert jobs.groups(aggregator()) == [("a", "b", "c", "d")]


def test_groupsof_leaves_a_short_last_group(jobs: Jobs) -> None:
    assert jobs.groups(aggregator.groupsof(3)) == [("a", "b", "c"), ("d",)]


def test_groupby_key_is_ordered_by_value(jobs: Jobs) -> None:
    assert jobs.groups(aggregator.groupby("x")) == [("b", "d"), ("a", "c")]


def test_groupby_several_keys(jobs: Jobs) -> None:
    assert jobs.groups(aggregator.groupby(["x", "y"])) == [("b", "d"), ("a",), ("c",)]


def test_groupby_function(jobs: Jobs) -> None:
    assert jobs.groups(aggregator.groupby(lambda job: job.sp["y"])) == [("a",), ("b", "c", "d")]


def test_missing_key_needs_a_default(jobs: Jobs) -> None:
    with pytest.raises(KeyError, match="'z'"):
        jobs.groups(aggregator.groupby("z"))
    assert jobs.groups(aggregator.groupby("z", default=-1)) == [("a", "b", "c"), ("d",)]


def test_select_then_sort_then_group(jobs: Jobs) -> None:
    how = aggregator.groupsof(2, sort_by="x", sort_ascending=False, select=lambda job: job.id != "b")
    assert jobs.groups(how) == [("a", "c"), ("d",)]


def test_a_function_may_make_any_groups_and_empty_ones_are_left_out(jobs: Jobs) -> None:
    how = aggregator(lambda chosen: [chosen[:3], [], chosen[1:3], (job for job in chosen[3:])], sort_by="x")
    assert jobs.groups(how) == [("b", "d", "a"), ("d", "a"), ("c",)]


def test_nested_keys_are_found_by_dots() -> None:
    assert Jobs(a={"p": {"q": 2}}, b={"p": {"q": 1}}).groups(aggregator.groupby("p.q")) == [("b",), ("a",)]


def test_id_of_several_jobs_depends_on_their_order() -> None:
    # The formula signac-flow uses; scripts in a queue carry such ids.
    assert aggregate_id(["a", "b"]) == "agg-" + hashlib.md5(b"a,b").hexdigest()
    assert aggregate_id(["a", "b"]) != aggregate_id(["b", "a"])
    assert aggregate_id(["a"]) == "a"


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: aggregator.groupsof(0), ValueError),
        (lambda: aggregator.groupsof(1.5), ValueError),
        (lambda: aggregator.groupsof({}), TypeError),
        (lambda: aggregator(sort_by=1), TypeError),
        (lambda: aggregator(select="x"), TypeError),
        (lambda: aggregator.groupby(1), TypeError),
        (lambda: aggregator.groupby(["x", "y"], default=1), TypeError),
        (lambda: aggregator.groupby(["x", "y"], default=[1]), ValueError),
    ],
)
def test_impossible_arguments_are_refused(make: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="aggregator"):
        make()
