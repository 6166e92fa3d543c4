"""Work that signac-flow had in the queue when the project came here: known, followed, and never submitted again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import signac
from fake_schedulers.queue import FakeScheduler

from pointillist import get_aggregate_id
from pointillist.definition.groups import job_operation_id

BODY = """
both = Project.make_group("both")

@both
@Project.post.isfile("a")
@Project.operation
def first(job):
    open(job.fn("a"), "w").close()

@both
@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation
def second(job):
    open(job.fn("b"), "w").close()

@Project.pre.after(first)
@Project.post(lambda *jobs: all(job.isfile("c") for job in jobs))
@Project.operation(aggregator=aggregator.groupby("g"))
def third(*jobs):
    for job in jobs:
        open(job.fn("c"), "w").close()
"""
POINTS = [{"x": x, "g": 0} for x in range(5)]
QUEUED = 6


def known_as(study: Any, aggregate_id: str, *operations: str) -> str:
    return job_operation_id("Project", str(study.path), aggregate_id, operations)


def queue_up(study: Any, name: str, *lines: tuple[str, str]) -> None:
    """Submit a script as signac-flow writes it: ``lines`` are names of operations or groups, and ids of aggregates."""
    calls = "".join(f"{sys.executable} {study.path}/project.py run -o {one} -j {of}\n" for one, of in lines)
    script = Path(study.path, "submitted.sh")
    script.write_text(f'#!/bin/bash\n#SBATCH --job-name="{name}"\nset -e\ncd {study.path}\n{calls}')
    subprocess.run(["sbatch", "--parsable", script], check=True, capture_output=True, cwd=study.path)


@pytest.fixture
def study(make_study: Any, fake_slurm: FakeScheduler) -> Any:
    """Of five jobs, signac-flow has the first in the queue, the second as a group, the next two in a bundle."""
    study = make_study(BODY, *POINTS)
    one, grouped, *bundled, _ = study.make_jobs()
    ids = [known_as(study, one, "first"), known_as(study, grouped, "first", "second")]
    members = [known_as(study, job_id, "first") for job_id in bundled]
    queue_up(study, ids[0], ("first", one))
    queue_up(study, ids[1], ("both", grouped))
    queue_up(study, "Project/bundle/0a1b2c", *(("first", job_id) for job_id in bundled))
    listed = study.path / ".bundles" / "Project" / "bundle" / "0a1b2c"
    listed.parent.mkdir(parents=True)
    listed.write_text("\n".join(members) + "\n")
    status = dict.fromkeys([*ids, *members], QUEUED)
    (study.path / "signac_project_document.json").write_text(json.dumps({"_status": status}))
    return study


def states(study: Any) -> dict[tuple[str, str], str]:
    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    return {(task["operation"], task["aggregate"]): task["state"] for task in tasks}


@pytest.mark.parametrize("look_first", [False, True])
def test_what_is_queued_is_not_submitted_again_and_runs_as_ever(
    study: Any, fake_slurm: FakeScheduler, look_first: bool
) -> None:
    *queued, free = study.make_jobs()
    if look_first:
        assert [states(study)["first", job_id] for job_id in [*queued, free]] == ["queued"] * 4 + ["eligible"]
        explained = json.loads(study.cli("explain", "-o", "first", "-j", queued[0], "--json").stdout)
        assert explained["tasks"][0]["cluster"]["submitted"] is None, "nobody has written down when"
    study.cli("submit", "-o", "first")
    assert len(fake_slurm.jobs()) == 4
    assert set(states(study).values()) == {"queued", "waiting"}
    while fake_slurm.advance():
        pass
    found = states(study)
    assert {found["first", job_id] for job_id in (*queued, free)} == {"completed"}
    assert found["second", queued[1]] == "completed"
    assert {job["state"] for job in fake_slurm.jobs().values()} == {"COMPLETED"}


def test_what_has_left_the_queue_goes_up_again(study: Any, fake_slurm: FakeScheduler) -> None:
    for cluster_id in list(fake_slurm.jobs()):
        subprocess.run(["scancel", cluster_id], check=True)
    fake_slurm.set(forget=True)
    study.cli("submit", "-o", "first", "--no-array")
    assert sum(job["state"] == "PENDING" for job in fake_slurm.jobs().values()) == 5


def test_what_can_not_be_asked_for_is_left_alone(study: Any, fake_slurm: FakeScheduler) -> None:
    fake_slurm.set(down=True)
    told = study.cli("status", "--json")
    assert sorted(task["state"] for task in json.loads(told.stdout)["tasks"] if task["operation"] == "first") == [
        "eligible",
        *["queued"] * 4,
    ]
    fake_slurm.set(down=False)
    study.cli("cancel", "-o", "first", "-j", study.make_jobs()[0])
    assert [job["state"] for job in fake_slurm.jobs().values()] == ["CANCELLED", "PENDING", "PENDING"]


@pytest.mark.usefixtures("fake_slurm")
def test_an_aggregate_is_known_in_the_order_of_signac_flow(make_study: Any) -> None:
    study = make_study(BODY, *POINTS)
    theirs = get_aggregate_id(signac.get_project(study.path))
    queue_up(study, known_as(study, theirs, "third"), ("third", theirs))
    status = {known_as(study, theirs, "third"): QUEUED}
    (study.path / "signac_project_document.json").write_text(json.dumps({"_status": status}))
    assert [state for (name, _), state in states(study).items() if name == "third"] == ["queued"]


def test_without_a_scheduler_everything_may_run(study: Any) -> None:
    plain = {**os.environ, "PATH": "/usr/bin:/bin", "POINTILLIST_ENVIRONMENT": "StandardEnvironment"}
    assert "11 completed" in study.cli("run", env=plain).stderr
