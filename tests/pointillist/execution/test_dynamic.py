"""A data space that changes while a run is going: jobs that come, go, or get another state point."""

from __future__ import annotations

import json
from typing import Any

import pytest

GROWING = """
@Project.post.isfile("a")
@Project.operation
def first(job): open(job.fn("a"), "w").close()

@Project.pre.after(first)
@Project.post(lambda job: job.sp.x >= 2 or {"x": job.sp.x + 1} in [other.sp for other in job.project])
@Project.operation
def grow(job): job.project.open_job({"x": job.sp.x + 1}).init()

@Project.pre.after(first)
@Project.post(lambda *jobs: all(len(jobs) == json_of(job) for job in jobs))
@Project.operation(aggregator=aggregator())
def together(*jobs):
    for job in jobs:
        with open(job.fn("count"), "w") as file: file.write(str(len(jobs)))

def json_of(job):
    return int(open(job.fn("count")).read()) if job.isfile("count") else None
"""


@pytest.mark.parametrize("parallel", [(), ("--parallel", "2")])
def test_jobs_made_by_a_run_are_picked_up_by_it_and_by_aggregates(make_study, parallel: tuple[str, ...]) -> None:
    study = make_study(GROWING, {"x": 0})
    study.cli("run", *parallel)
    jobs = study.make_jobs()
    assert len(jobs) == 3
    assert all((study.job(i) / "a").exists() for i in jobs)
    assert [(study.job(i) / "count").read_text() for i in jobs] == ["3"] * 3
    assert "Nothing to do" in study.cli("run").stderr


MIGRATING = """
@Project.post.isfile("before")
@Project.operation
def before(job): open(job.fn("before"), "w").close()

@Project.pre.after(before)
@Project.post(lambda job: "new" in job.sp)
@Project.operation
def migrate(job): job.sp.new = True

# Asks the document, which signac makes anew, with its job, when both have gone.
@Project.post(lambda job: job.doc.get("after"))
@Project.operation(directives={"fork": True})
def after(job): job.doc.after = True

@Project.post(lambda *jobs: all(job.doc.get("together") == len(jobs) for job in jobs))
@Project.operation(aggregator=aggregator.groupby(lambda job: "new" in job.sp))
def together(*jobs):
    for job in jobs: job.doc.together = len(jobs)
"""


@pytest.mark.parametrize("order", ["none", "by-job", "cyclic", "random"])
def test_jobs_that_get_another_state_point_are_followed_and_not_made_anew(make_study, order: str) -> None:
    study = make_study(MIGRATING, *({"x": x} for x in range(4)))
    old = set(study.make_jobs())
    run = study.cli("run", "--order", order, "--num-passes", "-1")
    new = study.make_jobs()
    assert len(new) == 4
    assert not old & set(new)
    documents = [json.loads((study.job(i) / "signac_job_document.json").read_text()) for i in new]
    assert documents == [{"after": True, "together": 4}] * 4
    assert all((study.job(i) / "before").exists() for i in new)
    assert "is no longer there" not in run.stderr
    assert "failed" not in run.stderr
    assert all(task["last_attempt"] for task in tasks(study) if task["operation"] == "migrate")


CHANGING = """
import sys

def note(what, job):
    with open("record", "a") as file: file.write(f"{{what}} {{job.sp.x}}\\n")

@Project.operation(**{options})
{post}
def change(*jobs):
    for job in jobs:
        note("change", job)
        {change}
    {end}

@Project.pre(lambda job: job.sp.x >= 100)
@Project.post.isfile("b")
@Project.operation
def later(job):
    note("later", job)
    open(job.fn("b"), "w").close()

if __name__ == "__main__" and sys.argv[1:] == ["inline"]:
    Project.get_project().run()
    sys.exit()
"""
CHANGES = {
    "item": "job.sp.x += 100",
    "update": 'job.update_statepoint({"x": job.sp.x + 100}, overwrite=True)',
    "whole": 'job.statepoint = {"x": job.sp.x + 100}',
}


def record(study) -> list[str]:
    return sorted((study.path / "record").read_text().splitlines())


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("post", ["@Project.post(lambda job: job.sp.x >= 100)", ""], ids=["post", "none"])
@pytest.mark.parametrize(
    "options", ["{}", "{'directives': {'fork': True}}", "{'batch': 3}"], ids=["worker", "own", "batch"]
)
def test_an_operation_that_changes_a_state_point_is_done_for_the_job_as_it_is_now(
    make_study, change: str, post: str, options: str
) -> None:
    body = CHANGING.format(options=options, post=post, change=change, end="pass")
    study = make_study(body, *({"x": x} for x in range(3)))
    run = study.cli("run")
    assert record(study) == ["change 0", "change 1", "change 2", "later 100", "later 101", "later 102"]
    assert "is no longer there" not in run.stderr
    assert ("6 completed" if post else "3 completed, 3 ended") in run.stderr
    assert all(task["last_attempt"] for task in tasks(study))


def test_a_program_follows_jobs_whose_state_point_its_operations_change(make_study, engine) -> None:
    body = CHANGING.format(options="{}", post="", change=CHANGES["item"], end="pass")
    study = make_study(body, *({"x": x} for x in range(3)))
    engine(study.path, "project.py", "inline")
    assert record(study) == ["change 0", "change 1", "change 2", "later 100", "later 101", "later 102"]


@pytest.mark.parametrize("options", ["{}", "{'retries': 1}", "{'directives': {'fork': True}}"])
def test_an_operation_that_fails_after_it_changed_a_state_point_has_failed_for_the_job_as_it_is_now(
    make_study, options: str
) -> None:
    body = CHANGING.format(options=options, post="", change=CHANGES["item"], end="raise RuntimeError")
    study = make_study(body, {"x": 0}, {"x": 7})
    study.cli("run", "-o", "change", check=1)
    begun = record(study)
    assert len(begun) == (4 if "retries" in options else 2)
    assert [task["state"] for task in tasks(study) if task["operation"] == "change"] == ["failed"] * 2
    study.cli("run", "-o", "change", check=None)
    assert record(study) == begun
    study.cli("run", "-o", "change", "--retry-failed", check=1)
    assert len(record(study)) == 2 * len(begun)


@pytest.mark.parametrize("how", ["run", "inline"])
def test_a_job_that_takes_the_id_that_another_one_had_is_not_taken_for_that(make_study, engine, how: str) -> None:
    body = """
        import sys
        @Project.operation
        def change(job):
            job.sp.x += 1
            job.doc.order = job.sp.x
        @Project.pre(lambda job: "order" in job.doc)
        @Project.post.isfile("b")
        @Project.operation
        def later(job):
            open(job.fn("b"), "w").close()
            with open("record", "a") as file: file.write(f"{job.sp.x} {job.doc.order}\\n")
        if __name__ == "__main__" and sys.argv[1:] == ["inline"]:
            Project.get_project().run()
            sys.exit()
    """
    study = make_study(body, {"x": 0}, {"x": 1})  # in the order of their ids: 1, 0
    engine(study.path, "project.py", how)
    assert record(study) == ["1 1", "2 2"]
    assert len(study.make_jobs()) == 2


def tasks(study) -> list[dict[str, Any]]:
    return json.loads(study.cli("status", "-d", "--json").stdout)["tasks"]


def test_jobs_that_an_operation_removes_are_not_missed(make_study) -> None:
    body = """
        import shutil
        @Project.operation
        def purge(job): shutil.rmtree(job.path)
        @Project.post.isfile("a")
        @Project.operation
        def work(job): open(job.fn("a"), "w").close()
    """
    study = make_study(body, *({"x": x} for x in range(3)))
    run = study.cli("run", "--order", "by-job")
    assert "failed" not in run.stderr
    assert study.make_jobs() == []


MOVED = """
import os, sys, time
HERE = os.path.dirname(os.path.abspath(__file__))

@Project.post(lambda job: "new" in job.sp)
@Project.operation
def move(job):
    while not os.path.exists(f"{HERE}/started"): time.sleep(0.02)
    job.sp.new = True
    open(f"{HERE}/moved", "w").close()

@Project.post.isfile("late")
@Project.operation(directives={"executable": f"sh {HERE}/wait.sh {sys.executable}"})
def late(job): open(job.fn("late"), "w").close()
"""


def test_a_task_whose_job_moves_before_it_begins_is_done_under_the_new_id(make_study) -> None:
    study = make_study(MOVED, {"x": 0})
    here = study.path
    (here / "wait.sh").write_text(
        f"touch '{here}/started'\nuntil [ -e '{here}/moved' ]; do sleep 0.02; done\nexec \"$@\"\n"
    )
    (old,) = study.make_jobs()
    run = study.cli("run", "--parallel", "2")
    (new,) = study.make_jobs()
    assert new != old
    assert (study.job(new) / "late").exists()
    assert "failed" not in run.stderr
