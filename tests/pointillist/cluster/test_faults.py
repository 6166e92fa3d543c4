"""A scheduler that is slow, half dead or lying: what is known stays known, and nothing is made up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fake_schedulers.queue import FakeScheduler

from pointillist.cluster.errors import SchedulerNotPresent, SchedulerUnavailable
from pointillist.cluster.schedulers.base import State
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
