"""A real Slurm that warns, puts back, preempts and loses nodes: what a task keeps, and when it is given up."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from patience import until
from slurm_service import SlurmService
from waiting import queue_is_empty, states

from pointillist.state.journal import Attempt, Journal

# Saves how far it has come when it is told that its time is nearly up, and goes on from there the next time.
TRAINING = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
saved = folder / "checkpoint"
step = int(saved.read_text()) if saved.exists() else 0
def save(*_):
    time.sleep(0.5)
    saved.write_text(str(step + 1))
    sys.exit(75)
signal.signal(signal.SIGUSR1, save)
(folder / f"started-{step}").touch()
if step < int(sys.argv[2]):
    time.sleep(100)
(folder / "a").write_text(str(step))
"""
BODY = """
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={{"walltime": 1 / 60, "signal_before_s": 58, "requeue": {requeue}}})
def train(job):
    return f"{python} train.py workspace/{{job.id}} {steps}; exit $?"
"""

pytestmark = pytest.mark.usefixtures("real_slurm")


def make(make_study: Any, *points: dict[str, int], requeue: object = True, steps: int = 1) -> Any:
    study = make_study(BODY.format(requeue=requeue, steps=steps, python=sys.executable), *points)
    (study.path / "train.py").write_text(TRAINING)
    return study


def warn(slurm: SlurmService, cluster_id: str) -> None:
    """Send what Slurm sends near the time limit, at once."""
    slurm.run("scancel", "--batch", "--signal=USR1", cluster_id)


def started(study: Any, step: int) -> list[Path]:
    return list((study.path / "workspace").glob(f"*/started-{step}"))


def attempts(study: Any) -> list[Attempt]:
    return Journal(str(study.path / ".pointillist" / "journal")).attempts()


def test_task_is_warned_saves_its_state_is_put_back_and_finishes(make_study: Any, real_slurm: SlurmService) -> None:
    study = make(make_study, {"x": 1}, {"x": 2})
    submitted = study.cli("submit").stdout.split()[0].removesuffix("_[0-1]")
    until(lambda: len(started(study, 1)) == 2)
    assert states(study)["train"] <= {"running", "completed"}
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"completed"}}
    made = attempts(study)
    assert sorted(one.cluster_job.id for one in made) == sorted(2 * [f"{submitted}_0", f"{submitted}_1"])
    assert len({one.cluster_job.start for one in made}) == 4
    assert [one.outcome for one in made] == ["interrupted", "interrupted", "completed", "completed"]
    logs = "".join(path.read_text() for path in (study.path / ".pointillist/logs/cluster").iterdir())
    assert logs.count("1 interrupted") == logs.count("1 completed") == 2


def test_task_that_never_comes_to_an_end_is_given_up_in_words(make_study: Any, real_slurm: SlurmService) -> None:
    study = make(make_study, {"x": 1}, requeue=1, steps=9)
    cluster_id = study.cli("submit").stdout.split()[0]
    for step in range(2):
        until(lambda step=step: started(study, step))
        warn(real_slurm, cluster_id)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"failed"}}
    said = study.cli("explain").stdout
    assert "its cluster job was put back once, which did not suffice, and it allows once" in said
    assert f"cluster job {cluster_id}" in said


def test_task_without_requeue_stops_in_time_and_waits_for_the_next_submit(
    make_study: Any, real_slurm: SlurmService
) -> None:
    study = make(make_study, {"x": 1}, requeue=None)
    cluster_id = study.cli("submit").stdout.split()[0]
    until(lambda: started(study, 0))
    warn(real_slurm, cluster_id)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"eligible"}}
    assert f"cluster job {cluster_id} stopped" in study.cli("status").stderr
    study.cli("submit")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"completed"}}


def test_bundle_begins_nothing_after_the_warning_and_goes_on_where_it_was(
    make_study: Any, real_slurm: SlurmService
) -> None:
    study = make(make_study, {"x": 1}, {"x": 2}, {"x": 3})
    cluster_id = study.cli("submit", "--bundle").stdout.split()[0]
    for count in (1, 2, 3):
        until(lambda count=count: len(started(study, 0)) == count)
        warn(real_slurm, cluster_id)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"completed"}}
    assert len(attempts(study)) == 6


@pytest.mark.parametrize("way", ["scontrol requeue", "preemption", "node failure"])
def test_job_that_slurm_puts_back_itself_runs_again(make_study: Any, real_slurm: SlurmService, way: str) -> None:
    body = BODY.replace('"walltime": 1 / 60, "signal_before_s": 58, ', "")
    study = make_study(body.format(requeue=True, steps=1, python=sys.executable), {"x": 1})
    (study.path / "train.py").write_text(TRAINING)
    cluster_id = study.cli("submit").stdout.split()[0]
    until(lambda: started(study, 0))
    (study.job(study.make_jobs()[0]) / "checkpoint").write_text("1")
    if way == "scontrol requeue":
        real_slurm.run("scontrol", "requeue", cluster_id)
    elif way == "preemption":
        wish = ["--partition=urgent", "--exclusive", f"--chdir={study.path}", "--output=/dev/null"]
        real_slurm.run("sbatch", *wish, "--wrap=sleep 1")
    else:
        real_slurm.kill_node()
        real_slurm.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    until(lambda: states(study) == {"train": {"queued"}})
    assert study.cli("submit").stdout == ""
    if way == "node failure":
        real_slurm.start_node()
        real_slurm.run("scontrol", "update", "nodename=n1", "state=resume")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"completed"}}


def test_job_that_slurm_puts_back_too_often_is_given_up(make_study: Any, real_slurm: SlurmService) -> None:
    study = make(make_study, {"x": 1}, requeue=1, steps=9)
    cluster_id = study.cli("submit").stdout.split()[0]
    for count in (1, 2):
        until(lambda count=count: len(attempts(study)) == count)
        real_slurm.run("scontrol", "requeue", cluster_id)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"train": {"failed"}}
    assert "was put back twice, which did not suffice, and it allows once" in study.cli("explain").stdout
