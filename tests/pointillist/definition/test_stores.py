"""Aggregates as mappings and iterables, and the private names by which programs for signac-flow ask a project."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject, IgnoreConditions, aggregator, get_aggregate_id
from pointillist.aggregates import _AggregateStoresCursor, _JobAggregateCursor


class Study(FlowProject):
    pass


group = Study.make_group("both")


@Study.label
def is_even(job: Any) -> bool:
    return job.sp.x % 2 == 0


@group
@Study.pre(is_even)
@Study.post.isfile("made")
@Study.operation(directives={"np": 2, "walltime": 1})
def make(job: Any) -> None:
    Path(job.fn("made")).touch()


@group
@Study.pre.after(make)
@Study.post.true("used")
@Study.operation(directives={"np": lambda job: job.sp.x + 1, "walltime": 2})
def use(job: Any) -> None:
    job.doc.used = True


@Study.operation(aggregator=aggregator.groupsof(2))
def pairs(*jobs: Any) -> None:
    pass


@pytest.fixture
def project(tmp_path: Path) -> Study:
    signac.init_project(tmp_path)
    made = Study(tmp_path)
    for x in range(5):
        made.open_job({"x": x}).init()
    return made


def test_a_store_is_a_mapping_of_aggregates_by_id(project: Study) -> None:
    store = aggregator(sort_by="x", sort_ascending=False)._create_AggregateStore(project)
    (jobs,) = store.values()
    assert [job.sp.x for job in jobs] == [4, 3, 2, 1, 0]
    assert store[get_aggregate_id(jobs)] == jobs
    assert list(store) == [get_aggregate_id(jobs)]
    assert jobs[0].id not in store
    with pytest.raises(LookupError):
        store[jobs[0].id]
    with pytest.raises(KeyError, match="seed"):
        aggregator.groupby("seed")._create_AggregateStore(project)


def test_only_aggregators_of_single_jobs_are_equal() -> None:
    assert aggregator.groupsof(1) == aggregator.groupsof(1)
    assert len({aggregator.groupsof(1), aggregator.groupsof(1)}) == 1
    assert aggregator.groupby("x") != aggregator.groupby("x")
    assert aggregator.groupsof(1) != aggregator.groupsof(1, select=lambda job: True)


def test_cursors_follow_the_workspace(project: Study) -> None:
    everything = _AggregateStoresCursor(project)
    # Five single jobs and three pairs, of which one has a single job.
    assert len(everything) == len(list(everything)) == 7
    project.open_job({"x": 5}).init()
    project._reregister_aggregates()
    assert len(everything) == 9
    assert all((job,) in everything for job in project)
    assert tuple(project) not in everything
    few = _JobAggregateCursor(project, filter={"x": {"$gt": 3}})
    assert len(few) == len(list(few)) == 2
    assert all(jobs in few for jobs in few)
    assert (project.open_job({"x": 0}),) not in few


def test_operations_and_groups_answer_about_jobs(project: Study) -> None:
    even, odd = ((project.open_job({"x": x}),) for x in (0, 1))
    both, makes, uses = (project.groups["both"], project.operations["make"], project.operations["use"])
    assert makes._eligible(even)
    assert not makes._eligible(odd)
    assert makes._eligible(odd, IgnoreConditions.PRE)
    assert both._eligible(even)
    assert not both._eligible(odd)
    project.run(names=["make"])
    assert makes._complete(even)
    assert not makes._eligible(even)
    assert makes._eligible(even, IgnoreConditions.POST)
    assert uses._eligible(even)
    assert not both._complete(even)
    project.run()
    assert both._complete(even)
    plain = signac.get_project(project.path).open_job({"x": 0})
    with pytest.raises(TypeError, match="opened"):
        uses._eligible((plain,))


def test_a_group_asks_for_what_its_operations_need_one_after_another(project: Study) -> None:
    job = project.open_job({"x": 3})
    asked = project.groups["both"]._get_submission_directives(project._get_default_directives(), (job,))
    assert (asked["np"], asked["walltime"].total_seconds()) == (4, 3 * 3600)


def test_declarations_are_found_by_function() -> None:
    class Child(Study):
        pass

    hook = Child.operation_hooks.on_start(lambda name, job: None)
    Child.pre.true("more")(hook(make))
    assert [len(cls._collect_preconditions()[make]) for cls in (Study, Child)] == [1, 2]
    assert len(Child._collect_postconditions()[make]) == 1
    assert len(Child._OPERATION_HOOK_REGISTRY[make]["on_start"]) == 1
    assert make not in Study._OPERATION_HOOK_REGISTRY


def test_status_in_the_form_of_signac_flow(project: Study) -> None:
    assert list(project._label_functions.values()) == ["is_even"]
    rows = {row["aggregate_id"]: row for row in project._fetch_status()}
    job = project.open_job({"x": 2})
    assert rows[job.id]["labels"] == ["is_even"]
    assert rows[job.id]["groups"]["make"] == {"scheduler_status": 1, "eligible": True, "completed": False}
    assert [row["aggregate_id"] for row in project._fetch_status([(job,)])] == [job.id]
    assert project._get_cached_scheduler_status() == {}


def test_what_could_be_submitted_is_a_line_for_each_group(project: Study) -> None:
    project.open_job({"x": 5}).init()  # no pair has a single job
    jobs = [(project.open_job({"x": x}),) for x in (0, 1)]
    lines = {line.name: line for line in project._get_submission_operations(jobs)}
    assert list(lines) == ["both", "make"]
    assert lines["both"]._jobs == jobs[0]
    assert f"run -o both -j {jobs[0][0].id}" in lines["both"].cmd
    assert (lines["both"].directives["np"], lines["make"].directives["np"]) == (2, 2)
    pre = IgnoreConditions.PRE
    (make,) = project._get_submission_operations(jobs[1:], None, pre, pre, names=["make"])
    assert make.id == next(project._next_operations(jobs[1:], ["make"], pre)).id
    assert "--ignore-conditions=pre" in make.cmd
