"""A scheduler that is slow, half dead or lying: what is known stays known, and nothing is made up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from fake_schedulers.queue import FakeScheduler

from pointillist.cluster.errors import SchedulerNotPresent, SchedulerUnavailable
from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.requests import Array, Request
from pointillist.cluster.schedulers.slurm import Slurm


def submit(scheduler: Slurm, tmp_path: Path, request: Request) -> str:
    path = tmp_path / "job.sh"
    path.write_text("\n".join(["#!/bin/sh", *scheduler.header_lines(request), "true", ""]))
    return scheduler.submit(str(path), request)


@pytest.fixture(params=["commands", "in this process"])
def slurm(request: pytest.FixtureRequest, fake_slurm: FakeScheduler) -> Slurm:
    if request.param == "commands":
        return Slurm(query_timeout_s=0.5, submit_timeout_s=0.5)
    return Slurm(run=fake_slurm.runner)


@pytest.mark.parametrize("fault", [{"down": True}, {"hang": True}, {"half": True}, {"nothing": True}])
def test_trouble_is_unavailable_and_passes(
    slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path, fault: dict[str, bool]
) -> None:
    one = submit(slurm, tmp_path, Request(name="a"))
    fake_slurm.set(**fault)
    with pytest.raises(SchedulerUnavailable):
        slurm.query([one])
    with pytest.raises(SchedulerUnavailable):
        slurm.query()
    fake_slurm.set(**dict.fromkeys(fault, False))
    assert slurm.query([one])[one].state is State.QUEUED


@pytest.mark.parametrize("fault", ["mute_submit", "hang"])
def test_submission_with_a_lost_answer_is_found_by_name(
    slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path, fault: str
) -> None:
    fake_slurm.set(**{fault: True})
    with pytest.raises(SchedulerUnavailable) as caught:
        submit(slurm, tmp_path, Request(name="FlowProject/lost"))
    assert caught.value.may_have_acted
    fake_slurm.set(**{fault: False})
    assert [job.name for job in slurm.query().values()] == ["FlowProject/lost"]


def test_every_third_submission_fails_and_was_not_accepted(
    slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path
) -> None:
    fake_slurm.set(fail_every=3)
    accepted, lost = [], []
    for number in range(6):
        try:
            accepted.append(submit(slurm, tmp_path, Request(name=f"n{number}")))
        except SchedulerUnavailable as trouble:
            lost.append(trouble)
    assert [trouble.may_have_acted for trouble in lost] == [False, False]
    assert len(accepted) == 4
    assert set(slurm.query()) == set(accepted)


def test_word_that_nobody_knows_is_not_an_end(slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path) -> None:
    one = submit(slurm, tmp_path, Request(name="a"))
    fake_slurm.set(unknown_state="DREAMING")
    assert slurm.query([one])[one].state is State.UNKNOWN


def test_forgotten_job_is_not_in_the_answer(slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path) -> None:
    one, other = submit(slurm, tmp_path, Request(name="a")), submit(slurm, tmp_path, Request(name="b"))
    fake_slurm.set(forget=True)
    fake_slurm.start(one)
    fake_slurm.end(one)
    assert slurm.query([one]) == {}
    assert set(slurm.query([one, other])) == {other}


def test_crowded_queue_is_read_and_our_ids_are_asked_for_alone(
    slurm: Slurm, fake_slurm: FakeScheduler, tmp_path: Path
) -> None:
    one = submit(slurm, tmp_path, Request(name="a", array=Array(3)))
    fake_slurm.set(crowd=20_000)
    patient = Slurm(run=slurm._run)
    assert len(patient.query()) == 20_003
    assert len(slurm.query([one])) == 3
    assert any(word == f"--jobs={one}" for word in fake_slurm.calls()[-1])


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("TIMEOUT", State.TIMED_OUT),
        ("OUT_OF_MEMORY", State.OUT_OF_MEMORY),
        ("NODE_FAIL", State.NODE_FAILED),
        ("PREEMPTED", State.PREEMPTED),
    ],
)
def test_ends_have_names(fake_slurm: FakeScheduler, tmp_path: Path, state: str, expected: State) -> None:
    slurm = Slurm(run=fake_slurm.runner)
    one = submit(slurm, tmp_path, Request(name="a"))
    fake_slurm.start(one)
    fake_slurm.end(one, state=state)
    assert slurm.query([one])[one].state is expected


def test_settings_of_the_user_do_not_change_the_answer(
    fake_slurm: FakeScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQUEUE_STATES", "RUNNING")
    monkeypatch.setenv("SBATCH_JOB_NAME", "mine")
    seen = Path(fake_slurm.folder) / "seen"
    (Path(fake_slurm.bin) / "squeue").write_text(f"#!/bin/sh\nenv > '{seen}'\n")
    with pytest.raises(SchedulerUnavailable):
        Slurm().query()
    assert "SQUEUE_" not in seen.read_text()
    assert "SBATCH_JOB_NAME" not in seen.read_text()
    assert "SLURM_BITSTR_LEN=0" in seen.read_text()
    assert os.environ["SQUEUE_STATES"] == "RUNNING"


def test_absent_commands_are_said_to_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not Slurm.is_present()
    with pytest.raises(SchedulerNotPresent, match="squeue") as caught:
        Slurm().query()
    assert caught.value.hint


def test_answer_cut_between_two_records_loses_nothing(fake_slurm: FakeScheduler, tmp_path: Path) -> None:
    slurm = Slurm(run=fake_slurm.runner)
    ids = [submit(slurm, tmp_path, Request(name=f"n{number}")) for number in range(8)]
    array = submit(slurm, tmp_path, Request(name="array", array=Array(6)))
    fake_slurm.start()
    fake_slurm.set(few=True)
    assert len(slurm.query()) == 7
    assert slurm.query_names(["array"]).keys() < {f"{array}_{index}" for index in range(6)}
    assert [job.name for job in slurm.query_names(["n7"]).values()] == ["n7"]
    elements = [f"{array}_{index}" for index in range(6)]
    assert slurm.history(elements).keys() == set(elements)
    with pytest.raises(SchedulerUnavailable, match="is missing"):
        slurm.history(ids)


def test_status_does_not_hammer_a_scheduler_that_failed_a_moment_ago(
    fake_slurm: FakeScheduler, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(
        """
@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    return "true"
""",
        {"x": 1},
    )
    study.cli("submit")
    fake_slurm.set(down=True)
    said = study.cli("status")
    asked = len(fake_slurm.calls())
    assert "Unable to contact slurm controller" in said.stderr
    for command in ("status", "explain", "logs"):
        study.cli(command, check=None)
    again = study.cli("status")
    assert len(fake_slurm.calls()) == asked
    assert "It is not asked again for" in again.stderr
    assert "1 " in again.stdout
    assert "Unable to contact" in study.cli("submit", check=4).stderr
    assert len(fake_slurm.calls()) > asked
    fake_slurm.set(down=False)
    study.cli("submit")
    assert study.cli("status").stderr == ""


def test_two_clusters_that_share_a_folder_are_told_apart(
    fake_slurm: FakeScheduler, make_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fake_schedulers.slurm

    study = make_study(
        """
@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    return f"touch workspace/{job.id}/a"
""",
        {"x": 1},
        {"x": 2},
        {"x": 3},
    )
    first, second = study.make_jobs()[:2]
    study.cli("submit", "-j", first)
    path = os.environ["PATH"]
    other = FakeScheduler(tmp_path / "other slurm", fake_schedulers.slurm)
    other.set(cluster="other")
    monkeypatch.setenv("PATH", f"{other.bin}{os.pathsep}{path}")
    # Both count their jobs from the same number, so the ids mean something else there.
    study.cli("submit", "-j", second)
    shown = study.cli("status", "--json")
    document = {task["aggregate"]: task for task in json.loads(shown.stdout)["tasks"]}
    assert [document[one]["state"] for one in (first, second)] == ["queued", "queued"]
    assert document[first]["cluster"]["id"] == document[second]["cluster"]["id"]
    assert (document[first]["cluster"]["cluster"], document[second]["cluster"]["cluster"]) == ("pretend", "other")
    assert "on cluster pretend" in study.cli("explain", "-j", first).stdout
    assert "1 task is on cluster pretend; this machine speaks to cluster other." in study.cli("status").stderr
    assert "on cluster pretend" in study.cli("cancel", "-j", first, check=4).stderr
    other.start()
    other.end("100", state="FAILED", exit_code=1)
    states = {task["aggregate"]: task["state"] for task in json.loads(study.cli("status", "--json").stdout)["tasks"]}
    assert (states[first], states[second]) == ("queued", "failed")
    monkeypatch.setenv("PATH", path)
    assert "on cluster" not in study.cli("status").stderr
    study.cli("cancel", "--all")
    assert [job["state"] for job in fake_slurm.jobs().values()] == ["CANCELLED"]
