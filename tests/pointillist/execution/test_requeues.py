"""What a run does when the time of its cluster job is nearly up, and when the job was put back before."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from patience import until

from pointillist.definition.directives import evaluate
from pointillist.errors import DirectivesError
from pointillist.execution.requeues import USUAL_REQUEUES, most_requeues
from pointillist.execution.submitting.needs import needs_of
from pointillist.state import sessions
from pointillist.state.journal import Journal
from pointillist.state.place import CLUSTER_JOB_VARIABLE, START_VARIABLE, SUBMISSION_VARIABLE, WARN_VARIABLE, Place
from pointillist.state.sessions import LOST_AFTER_S, RESTARTED_AFTER_S, Sessions

SHELL = """
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={directives})
def work(job):
    return f"trap 'touch workspace/{{job.id}}/saved; exit {code}' USR1; touch started; sleep 30 & wait; wait"
"""
PYTHON = """
import os, signal, time

@Project.post.isfile("a")
@Project.operation(directives={directives})
def work(job):
    def save(*_):
        open(job.fn("saved"), "w").close()
        raise SystemExit({code})
    signal.signal(signal.SIGUSR1, save)
    open("started", "w").close()
    time.sleep(30)
"""
UNAWARE = """
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={directives})
def work(job):
    return "sh -c 'touch started; exec sleep 30'; true"
"""
# One process says that it has begun and sleeps: between two programs of the outer shell a signal would meet neither.
WARNED = {"signal_before_s": 60}


def in_cluster_job(start: str = "1", **more: str) -> dict[str, str]:
    own = {SUBMISSION_VARIABLE: "P/work/0", CLUSTER_JOB_VARIABLE: "7_3", START_VARIABLE: start}
    return os.environ | own | more


def warned(study: Any, **options: Any) -> int:
    """Run a study, tell it at work that its time is nearly up, and return how it ends."""
    (study.path / "started").unlink(missing_ok=True)
    process = study.start("run", **options)
    until((study.path / "started").exists)
    process.send_signal(signal.SIGUSR1)
    process.communicate(
        timeout=60
    )  # longer than any task sleeps: one that heard nothing ends, and is told from a slow machine
    return process.returncode


def last(study: Any) -> Any:
    return Journal(str(study.path / ".pointillist" / "journal")).attempts()[-1]


@pytest.mark.parametrize("code", [0, 75])
@pytest.mark.parametrize("body", [SHELL, PYTHON, UNAWARE], ids=["shell", "python", "unaware"])
def test_warned_task_saves_its_state_and_stays_eligible(make_study: Any, body: str, code: int) -> None:
    study = make_study(body.format(directives=WARNED, code=code), {"x": 1}, {"x": 2})
    assert warned(study) == 75
    assert len(list(study.path.glob("workspace/*/saved"))) == (body is not UNAWARE)
    assert last(study).outcome == "interrupted"
    assert "2 " in study.cli("status").stdout.split("work")[1]
    assert len(Journal(str(study.path / ".pointillist" / "journal")).attempts()) == 1


def test_task_that_fails_when_it_is_warned_has_failed(make_study: Any) -> None:
    study = make_study(SHELL.format(directives=WARNED, code=3), {"x": 1})
    assert warned(study) == 1
    assert last(study).outcome == "failed"


def test_task_that_does_not_want_to_know_is_left_in_peace(make_study: Any) -> None:
    body = UNAWARE.replace(
        "\"sh -c 'touch started; exec sleep 30'; true\"", 'f"touch started; sleep 1; touch workspace/{{job.id}}/a"'
    )
    study = make_study(body.format(directives={}), {"x": 1})
    assert warned(study) == 0
    assert last(study).outcome == "completed"


def test_run_warns_by_the_clock_where_the_scheduler_does_not(make_study: Any) -> None:
    study = make_study(SHELL.format(directives=WARNED, code=75), {"x": 1})
    variables = in_cluster_job(**{WARN_VARIABLE: str(time.time() + 1.5)})
    study.cli("run", env=variables, check=75)
    assert list(study.path.glob("workspace/*/saved"))


def test_attempt_knows_its_cluster_job(make_study: Any) -> None:
    study = make_study(SHELL.format(directives=WARNED, code=75), {"x": 1})
    warned(study, env=in_cluster_job())
    assert last(study).cluster_job == Place("7_3", "P/work/0", "1")
    (task,) = json.loads(study.cli("status", "--json").stdout)["tasks"]
    assert task["last_attempt"]["cluster_job"]["id"] == "7_3"
    assert f"in cluster job 7_3 on {socket.gethostname()}, interrupted" in study.cli("explain").stdout
    assert "interrupted in cluster job 7_3 on" in study.cli("logs", "-o", "work").stderr


def test_number_of_starts_is_limited_where_it_is_declared(make_study: Any) -> None:
    study = make_study(SHELL.format(directives=WARNED | {"requeue": 1}, code=75), {"x": 1})
    assert warned(study, env=in_cluster_job("1")) == 75
    assert warned(study, env=in_cluster_job("2")) == 1
    assert last(study).outcome == "failed"
    assert "put back once, which did not suffice, and it allows once" in last(study).message


def test_task_is_not_begun_when_its_cluster_job_was_put_back_too_often(make_study: Any) -> None:
    study = make_study(SHELL.format(directives={"requeue": False}, code=75), {"x": 1})
    killed = study.start("run", env=in_cluster_job("1"))
    until((study.path / "started").exists)
    child = int(subprocess.check_output(["pgrep", "-P", str(killed.pid)]))
    killed.kill()
    os.killpg(child, signal.SIGKILL)
    killed.communicate()
    study.cli("run", env=in_cluster_job("2"), check=1)
    assert "put back once, which did not suffice, and it allows never" in last(study).message
    study.cli("run", env=in_cluster_job("3"))
    assert len(Journal(str(study.path / ".pointillist" / "journal")).attempts()) == 2


@pytest.mark.parametrize(
    ("value", "expected"), [(None, None), (False, 0), (True, USUAL_REQUEUES), (0, 0), (7, 7)], ids=str
)
def test_directive_says_how_often(value: object, expected: int | None) -> None:
    assert most_requeues({"requeue": value}) == expected


@pytest.mark.parametrize("value", ["often", -1, 1.5])
def test_other_words_are_refused(value: object) -> None:
    with pytest.raises(DirectivesError, match="requeue"):
        most_requeues({"requeue": value})


def test_signal_that_can_not_come_in_time_is_refused() -> None:
    with pytest.raises(DirectivesError, match="60 s before the end"):
        needs_of(evaluate({"walltime": 1 / 60, "signal_before_s": 60}))


def test_claim_of_an_earlier_start_on_a_lost_node_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def become(host: str, start: str, submission: str = "P/work/0") -> Sessions:
        monkeypatch.setattr(sessions, "this_host", lambda: host)
        for name, value in in_cluster_job(start, **{SUBMISSION_VARIABLE: submission}).items():
            monkeypatch.setenv(name, value)
        return Sessions(str(tmp_path))

    lost = become("n1", "1")
    session = lost.open()
    assert lost.claim(session, "work", "a")
    file = tmp_path / "sessions" / session.id
    quiet_since = time.time() - RESTARTED_AFTER_S - 5
    assert time.time() - quiet_since < LOST_AFTER_S
    again = become("n2", "2")
    assert not again.claim(again.open(), "work", "a")
    os.utime(file, (quiet_since, quiet_since))
    other = become("n3", "2", "P/work/1")
    assert not other.claim(other.open(), "work", "a")
    again = become("n2", "2")
    assert again.claim(again.open(), "work", "a")
