"""What a real ``sacct`` says of cluster jobs that the controller has forgotten.

``python tests/pointillist/cluster/test_accounts_on_slurm.py`` records them anew, in ``recorded/sacct-22.05.txt``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import until
from slurm_service import SlurmService, find_or_install, running
from waiting import queue_is_empty, states

from pointillist.cluster.schedulers.jobs import State
from pointillist.cluster.schedulers.slurm import Slurm

RECORDED = Path(__file__).parent / "recorded" / "sacct-22.05.txt"
FORGETFUL = {"accounting": True, "min_job_age_s": 2}
EXPECTED = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "killed": State.FAILED,
    "limit": State.TIMED_OUT,
    "cancelled": State.CANCELLED,
    "requeued": State.COMPLETED,
    "preempted": State.PREEMPTED,
    "node": State.NODE_FAILED,
}


@pytest.fixture(scope="module")
def service(slurm_programs: Callable[..., None]) -> Iterator[SlurmService]:
    """A real Slurm that keeps accounts and soon forgets."""
    slurm_programs("Slurm with accounts", accounting=True)
    with running(**FORGETFUL) as service:
        yield service


@pytest.fixture
def accounting(service: SlurmService, monkeypatch: pytest.MonkeyPatch) -> SlurmService:
    """The same, spoken to by one test."""
    for name, value in service.environment.items():
        monkeypatch.setenv(name, value)
    return service


class Endings:
    """Bring cluster jobs to every end that one machine can bring about."""

    def __init__(self, slurm: SlurmService) -> None:
        self._slurm = slurm
        self.ids: dict[str, str] = {}

    def make(self) -> None:
        # Limits are looked at twice a minute only; in a partition of its own nothing preempts it meanwhile.
        self._run_for_ever("limit", "sleep 600", "--partition=urgent")
        self._slurm.run("scontrol", "update", f"jobid={self.ids['limit']}", "EndTime=now+1second")
        self._submit("completed", "true")
        self._submit("failed", "exit 3")
        self._submit("killed", "kill -9 $$")
        self._submit("array", "test $SLURM_ARRAY_TASK_ID != 1", "--array=0-3%2")
        self._submit("dropped", "true", "--array=0-2", "--hold")
        self._slurm.run("scancel", self.ids["dropped"])
        self._run_for_ever("cancelled")
        self._slurm.run("scancel", self.ids["cancelled"])
        self._run_for_ever("requeued", 'test -n "${SLURM_RESTART_COUNT-}" || sleep 600', "--requeue")
        self._slurm.run("scontrol", "requeue", self.ids["requeued"])
        self._over("requeued")
        self._over("limit")
        self._run_for_ever("preempted", "sleep 600", "--no-requeue")
        self._submit("urgent", "true", "--partition=urgent", "--exclusive")
        self._over("preempted")
        self._over("urgent")
        self._run_for_ever("node", "sleep 600", "--no-requeue")
        self._slurm.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")
        self._over("node")
        until(lambda: not self._slurm.run("squeue", "--states=all", "--noheader").strip(), 90)

    def answer(self) -> str:
        return self._slurm.run(*Slurm().history_command(list(self.ids.values())))

    def _submit(self, name: str, script: str, *words: str) -> None:
        answer = self._slurm.run(
            "sbatch", "--parsable", f"--job-name={name}", "-o", "/dev/null", *words, "--wrap", script
        )
        self.ids[name] = answer.strip()

    def _run_for_ever(self, name: str, script: str = "sleep 600", *words: str) -> None:
        self._submit(name, script, *words)
        until(lambda: self._state(name) == "RUNNING")

    def _over(self, name: str) -> None:
        until(lambda: self._state(name) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING"), 90)

    def _state(self, name: str) -> str:
        return self._slurm.run(
            "squeue", "--states=all", "--noheader", f"--jobs={self.ids[name]}", "--format=%T"
        ).strip()


def test_every_ending_is_known_when_the_controller_has_forgotten(accounting: SlurmService) -> None:
    endings = Endings(accounting)
    endings.make()
    ids = endings.ids
    assert Slurm().query(ids.values()) == {}
    found = Slurm().history(ids.values())
    assert {name: found[ids[name]].state for name in EXPECTED} == EXPECTED
    array = [found[f"{ids['array']}_{index}"] for index in range(4)]
    assert [one.state for one in array] == [State.COMPLETED, State.FAILED, State.COMPLETED, State.COMPLETED]
    assert {found[f"{ids['dropped']}_{index}"].state for index in range(3)} == {State.CANCELLED}
    assert (found[ids["failed"]].exit_code, found[ids["killed"]].exit_signal) == (3, 9)
    assert (found[ids["failed"]].node, found[ids["completed"]].exit_code) == ("n1", 0)
    assert Slurm().history(["999999"]) == {}


def test_memory_kill_is_told_in_words(make_study: Any, accounting: SlurmService) -> None:
    body = f"""
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={{"memory": "100m"}})
def hungry(job):
    return "{sys.executable} -c 'x = bytearray(400 * 2**20); import time; time.sleep(60)'"
"""
    study = make_study(body, {"x": 1})
    study.cli("submit")
    until(lambda: queue_is_empty(accounting))
    said = study.cli("status")
    assert "out of memory. It used more memory than it asked for." in said.stderr
    assert "next: give it more memory" in said.stderr
    assert states(study) == {"hungry": {"failed"}}


def test_recorded_answers_are_read_alike() -> None:
    jobs = Slurm().parse_history(RECORDED.read_text())
    by_name = {job.name: job.state for job in jobs.values()}
    assert by_name | EXPECTED == by_name
    assert [job.state for job in jobs.values() if job.name == "dropped"] == 3 * [State.CANCELLED]


def record() -> None:
    """Record the answers anew."""
    find_or_install(accounting=True)
    with running(**FORGETFUL) as service:
        endings = Endings(service)
        endings.make()
        RECORDED.write_text(endings.answer())


if __name__ == "__main__":
    record()
