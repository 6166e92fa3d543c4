"""Remembered groups are those that grouping anew gives, and what a function decides is not remembered."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pointillist import FlowProject, aggregator, grid, make_jobs
from pointillist.state.grouping import aggregates_of
from pointillist.state.workspace import Workspace


class Opened(Exception):
    """A state point was read."""


@pytest.fixture
def project(tmp_path: Path) -> FlowProject:
    project = FlowProject.init_project(tmp_path)
    make_jobs(project, [*grid(x=[1, 2, 3], y=[1, 2]), {"x": 1, "z": {"a": 1}}])
    return project


def reader(project: FlowProject, *, readable: bool = True) -> Workspace:
    workspace = Workspace(project.workspace, project._open_job, str(Path(project.path, "cache")), remember_from=1)
    if not readable:

        def statepoint(job_id: str) -> Any:
            raise Opened

        workspace.statepoint = statepoint  # type: ignore[method-assign]
    return workspace


WAYS = {
    "all": lambda: aggregator(),
    "sorted": lambda: aggregator(sort_by="x", sort_ascending=False),
    "pairs": lambda: aggregator.groupsof(2, sort_by="x"),
    "key": lambda: aggregator.groupby("x"),
    "key, sorted": lambda: aggregator.groupby("x", sort_by="x", sort_ascending=False),
    "keys": lambda: aggregator.groupby(["x", "y"], default=[0, 0]),
    "keys, other default": lambda: aggregator.groupby(iter(["x", "y"]), default=[0, 2]),
    "default": lambda: aggregator.groupby("y", default=0),
    "other default": lambda: aggregator.groupby("y", default=2),
    "dotted": lambda: aggregator.groupby("z.a", default=-1),
}


def test_remembered_groups_are_those_made_anew(project: FlowProject) -> None:
    fresh = {name: way().aggregates(reader(project), reader(project).job_ids) for name, way in WAYS.items()}
    assert {name: aggregates_of(way(), reader(project)) for name, way in WAYS.items()} == fresh
    assert {name: aggregates_of(way(), reader(project, readable=False)) for name, way in WAYS.items()} == fresh
    make_jobs(project, grid(x=[0], y=[1, 2]))
    os.rename(project.workspace + "/" + fresh["all"][0].job_ids[0], project.path + "/aside")
    again = {name: way().aggregates(reader(project), reader(project).job_ids) for name, way in WAYS.items()}
    assert {name: aggregates_of(way(), reader(project)) for name, way in WAYS.items()} == again
    assert all(again[name] != fresh[name] for name in WAYS)


@pytest.mark.parametrize(
    "way",
    [
        lambda: aggregator.groupby(lambda job: job.sp.x),
        lambda: aggregator.groupby("x", select=lambda job: job.sp.x > 1),
        lambda: aggregator.groupby("x", sort_by=lambda job: job.sp.x),
        lambda: aggregator(lambda jobs: [jobs]),
        lambda: aggregator.groupby("x", default=type("Number", (int,), {})(3)),
        lambda: type("OtherWay", (aggregator,), {}).groupby("x"),
    ],
)
def test_what_others_than_the_parameters_decide_is_not_remembered(project: FlowProject, way: Any) -> None:
    assert way().recipe is None
    assert aggregates_of(way(), reader(project)) == way().aggregates(reader(project), reader(project).job_ids)
    assert not Path(project.path, "cache", "groups").exists()


def test_a_grouping_that_fails_fails_each_time(project: FlowProject) -> None:
    for _ in range(2):
        with pytest.raises(KeyError, match="'y'"):
            aggregates_of(aggregator.groupby("y"), reader(project))
