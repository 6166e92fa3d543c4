"""What only a real Slurm can tell: that it understands every line we write to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from debian import ProgramsMissing
from patience import until
from slurm_service import SlurmService, find_or_install

from pointillist.cluster.errors import SubmissionRejected
from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request, element_id
from pointillist.cluster.schedulers.slurm import Slurm

MIB = 2**20


def submit(tmp_path: Path, request: Request, body: str = "true") -> str:
    path = tmp_path / f"{request.name.replace('/', '-')}.sh"
    path.write_text("\n".join(["#!/bin/bash", *Slurm().header_lines(request), body, ""]))
    return Slurm().submit(str(path), request, cwd=str(tmp_path))


def finish(one: str) -> State:
    until(lambda: Slurm().query([one])[one].state.is_final)
    return Slurm().query([one])[one].state


def test_whole_request_is_accepted_and_kept(real_slurm: SlurmService, tmp_path: Path) -> None:
    request = Request(
        name="FlowProject/abc/train",
        processes=2,
        threads_per_process=1,
        memory_bytes=300 * MIB,
        nodes=1,
        walltime_s=90,
        partition="short",
        output=Slurm().output_pattern(str(tmp_path / "log"), array=True),
        array=Array(3, limit=2),
        comment='tasks | "3"',
        signal_before_s=30,
        requeue=False,
        hold=True,
    )
    one = submit(tmp_path, request)
    told = real_slurm.run("scontrol", "--oneliner", "show", "job", one)
    for fact in ("Partition=short", "NumTasks=2", "MinMemoryCPU=150M", "Requeue=0", "TimeLimit=00:02:00"):
        assert fact in told
    assert "ArrayTaskThrottle=2" in told
    assert {job.comment for job in Slurm().query([one]).values()} == {'tasks | "3"'}


def test_gpu_is_given_to_the_job_that_asks_for_one(real_slurm: SlurmService, tmp_path: Path) -> None:
    body = 'echo "${CUDA_VISIBLE_DEVICES-none}" > "$SLURM_JOB_NAME.txt"'
    for name, wish in (("per_process", {"gpus_per_process": 1}), ("in_all", {"gpus": 1}), ("without", {})):
        assert finish(submit(tmp_path, Request(name=name, **wish), body)) is State.COMPLETED
    assert (tmp_path / "per_process.txt").read_text() == "0\n"
    assert (tmp_path / "in_all.txt").read_text() == "0\n"
    assert (tmp_path / "without.txt").read_text() == "none\n"


def test_more_gpus_than_there_are_are_refused(real_slurm: SlurmService, tmp_path: Path) -> None:
    with pytest.raises(SubmissionRejected, match="not available"):
        submit(tmp_path, Request(name="a", gpus=2))


def test_largest_array_is_what_slurm_takes(real_slurm: SlurmService, tmp_path: Path) -> None:
    largest = Slurm().largest_array()
    assert largest == 21
    with pytest.raises(SubmissionRejected, match="array"):
        submit(tmp_path, Request(name="a", array=Array(largest + 1), hold=True))
    one = submit(tmp_path, Request(name="a", array=Array(largest), hold=True))
    assert len(Slurm().query([one])) == largest


def test_long_lists_of_indices_are_not_cut_off(real_slurm: SlurmService, tmp_path: Path) -> None:
    one = submit(tmp_path, Request(name="a", array=Array(21), hold=True))
    Slurm().cancel([element_id(one, index) for index in (1, 2, 5, 8, 10, 11, 15, 18)])
    expected = {element_id(one, index) for index in range(21) if index not in (1, 2, 5, 8, 10, 11, 15, 18)}
    until(lambda: set(Slurm().query([one])) == expected)


def test_job_that_can_never_start_is_said_to_be_stuck(real_slurm: SlurmService, tmp_path: Path) -> None:
    bad = submit(tmp_path, Request(name="bad"), "exit 1")
    after = (Dependency(After.OK, bad),)
    stuck = submit(tmp_path, Request(name="stuck", after=after, cancel_if_never=False))
    until(lambda: Slurm().query([stuck])[stuck].never_starts)
    job = Slurm().query([stuck])[stuck]
    assert job.state is State.QUEUED
    assert "never start" in job.reason_words


def test_running_job_is_cancelled_with_its_signal(real_slurm: SlurmService, tmp_path: Path) -> None:
    one = submit(tmp_path, Request(name="a"), "touch started\nsleep 60")
    until((tmp_path / "started").exists)
    Slurm().cancel([one])
    assert finish(one) is State.CANCELLED
    assert Slurm().history([one])[one].exit_signal == 15
    assert Slurm().history([one])[one].node == "n1"


def test_node_that_goes_down_fails_the_job(real_slurm: SlurmService, tmp_path: Path) -> None:
    one = submit(tmp_path, Request(name="a", requeue=False), "touch started\nsleep 60")
    until((tmp_path / "started").exists)
    real_slurm.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    try:
        assert finish(one) is State.NODE_FAILED
    finally:
        real_slurm.run("scontrol", "update", "nodename=n1", "state=resume")
    until(lambda: real_slurm.run("sinfo", "-h", "-o", "%T").strip() == "idle")


def test_service_leaves_no_process_behind(slurm_service: SlurmService, tmp_path: Path) -> None:
    other = SlurmService(Path(os.path.realpath(slurm_service.folder)) / "other")
    other.start()
    mark = f"SLURM_CONF={other.environment['SLURM_CONF']}".encode()
    other.run("sbatch", f"--output={tmp_path}/out", "--wrap", f"touch '{tmp_path}/started'; sleep 300")
    until((tmp_path / "started").exists)
    other.stop()

    def is_ours(entry: Path) -> bool:
        try:
            return mark in (entry / "environ").read_bytes()
        except OSError:
            return False

    until(lambda: not [entry for entry in Path("/proc").glob("[0-9]*") if is_ours(entry)])


def test_absence_is_explained_where_nothing_can_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slurm_service._PATH", "/nowhere")
    monkeypatch.setattr("os.getuid", lambda: 1000)
    with pytest.raises(ProgramsMissing, match="needs root on Debian or Ubuntu"):
        find_or_install()
