"""A data space that changes while a run is going: jobs that come, go, or get another state point."""

from __future__ import annotations

import json

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
    assert "is no longer there: it was removed, or its state point was changed." in run.stderr
    assert "failed" not in run.stderr


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
