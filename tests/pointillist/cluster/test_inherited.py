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
from faking import put_on_path

from pointillist import get_aggregate_id
from pointillist.definition.aggregates import aggregate_id
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


def write_status(study: Any, *queued: str) -> None:
    """Write down as signac-flow does what is in the queue."""
    status = {"_status": dict.fromkeys(queued, QUEUED)}
    (study.path / "signac_project_document.json").write_text(json.dumps(status))


def write_bundle(study: Any, name: str, *members: str) -> None:
    listed = study.path / ".bundles" / "Project" / "bundle" / name
    listed.parent.mkdir(parents=True, exist_ok=True)
    listed.write_text("\n".join(members) + "\n")


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
    write_bundle(study, "0a1b2c", *members)
    write_status(study, *ids, *members)
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
    write_status(study, known_as(study, theirs, "third"))
    assert [state for (name, _), state in states(study).items() if name == "third"] == ["queued"]


@pytest.mark.parametrize(
    ("kind", "environment", "submit", "line"),
    [("pbs", "DefaultPBSEnvironment", "qsub", "#PBS -N"), ("lsf", "DefaultLSFEnvironment", "bsub", "#BSUB -J")],
)
def test_other_schedulers_have_it_under_the_same_names(
    make_study: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    environment: str,
    submit: str,
    line: str,
) -> None:
    fake = put_on_path(kind, tmp_path, monkeypatch)
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", environment)
    study = make_study(BODY, *POINTS[:2])
    queued, _ = study.make_jobs()
    name = known_as(study, queued, "first")
    script = study.path / "submitted.sh"
    call = f"{sys.executable} {study.path}/project.py run -o first -j {queued}"
    script.write_text(f"#!/bin/bash\n{line} {name}\nset -e\ncd {study.path}\n{call}\n")
    with script.open() as text:
        words = [submit, script] if kind == "pbs" else [submit]
        subprocess.run(words, stdin=text, check=True, capture_output=True, cwd=study.path)
    write_status(study, name)
    study.cli("submit", "-o", "first")
    assert len(fake.jobs()) == 2
    while fake.advance():
        pass
    assert {state for (operation, _), state in states(study).items() if operation == "first"} == {"completed"}


def test_what_was_in_a_bundle_before_is_known_on_its_own(make_study: Any, fake_slurm: FakeScheduler) -> None:
    study = make_study(BODY, *POINTS[:2])
    members = [known_as(study, job_id, "first") for job_id in study.make_jobs()]
    write_bundle(study, "0a1b2c", *members)
    (study.path / ".bundles" / "Project" / "bundle" / ".swp").write_bytes(b"\xff\x00")
    for name, job_id in zip(members, study.make_jobs(), strict=True):
        queue_up(study, name, ("first", job_id))
    write_status(study, *members)
    study.cli("submit", "-o", "first")
    assert len(fake_slurm.jobs()) == 2


@pytest.mark.parametrize("ended", ["cancelled", "failed"])
def test_what_went_up_a_second_time_is_told_from_the_first(
    make_study: Any, fake_slurm: FakeScheduler, ended: str
) -> None:
    study = make_study(BODY, POINTS[0])
    (job_id,) = study.make_jobs()
    name = known_as(study, job_id, "first")
    queue_up(study, name, ("nothing", job_id))
    if ended == "cancelled":
        subprocess.run(["scancel", *fake_slurm.jobs()], check=True)
    else:
        fake_slurm.advance()
    queue_up(study, name, ("first", job_id))
    write_status(study, name)
    assert states(study)["first", job_id] == "queued"
    study.cli("submit", "-o", "first", "--retry-failed")
    assert len(fake_slurm.jobs()) == 2


@pytest.mark.parametrize("known_before", [1, 2])
def test_what_is_submitted_after_a_first_look_is_known_as_well(
    make_study: Any, fake_slurm: FakeScheduler, known_before: int
) -> None:
    study = make_study(BODY, *POINTS[:3])
    again, also, free = study.make_jobs()
    names = [known_as(study, job_id, "first") for job_id in (again, also)]
    write_status(study, *names[:known_before])
    assert states(study)["first", again] == "eligible", "what stands there has long left the queue"
    for name, job_id in zip(names, (again, also), strict=True):
        queue_up(study, name, ("first", job_id))
    write_status(study, *names)
    for _ in range(2):
        found = states(study)
        assert [found["first", job_id] for job_id in (again, also, free)] == ["queued", "queued", "eligible"]
    while fake_slurm.advance():
        pass
    assert [state for (name, _), state in states(study).items() if name == "first"] == ["completed"] * 2 + ["eligible"]


@pytest.mark.usefixtures("fake_slurm")
def test_a_long_list_of_what_has_left_the_queue_is_no_trouble(make_study: Any) -> None:
    points = [{"x": x, "g": 0} for x in range(1700)]
    study = make_study(BODY, *points)
    write_status(study, *(known_as(study, job_id, "first") for job_id in study.make_jobs()))
    told = study.cli("status", "-o", "first")
    assert "eligible" in told.stdout
    assert not told.stderr


PAIRS = """
@Project.post(lambda *jobs: all(job.isfile("a") for job in jobs))
@Project.operation(aggregator=aggregator.groupsof(2))
def pair(*jobs):
    for job in jobs:
        with open(job.fn("a"), "a") as file:
            file.write("once")
"""


def test_aggregates_that_are_others_here_are_kept_and_done_by_what_is_queued(
    make_study: Any, fake_slurm: FakeScheduler
) -> None:
    study = make_study(PAIRS, *({"x": x} for x in range(8)))
    listed = [job.id for job in signac.get_project(study.path)]
    own = {frozenset(study.make_jobs()[first : first + 2]) for first in range(0, 8, 2)}
    theirs = [listed[first : first + 2] for first in range(0, 8, 2)]
    if own == set(map(frozenset, theirs)):
        pytest.skip("the file system lists the jobs in pairs of ours")
    ids = [aggregate_id(pair) for pair in theirs]
    for one in ids:
        queue_up(study, known_as(study, one, "pair"), ("pair", one))
    write_status(study, *(known_as(study, one, "pair") for one in ids))
    assert set(states(study).values()) == {"queued"}
    study.cli("submit")
    assert len(fake_slurm.jobs()) == 4
    while fake_slurm.advance():
        pass
    assert {job["state"] for job in fake_slurm.jobs().values()} == {"COMPLETED"}
    assert [(study.job(job_id) / "a").read_text() for job_id in listed] == ["once"] * 8


def test_without_a_scheduler_everything_may_run(study: Any) -> None:
    plain = {**os.environ, "PATH": "/usr/bin:/bin", "POINTILLIST_ENVIRONMENT": "StandardEnvironment"}
    assert "11 completed" in study.cli("run", env=plain).stderr
