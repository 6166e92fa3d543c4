"""Two runs at once share the work: what one has brought to an end, well or badly, the other does not do again."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from patience import until

SHELL = """
    @Project.operation(cmd=True, batch={batch})
    @Project.post.isfile("never")
    def work(*jobs):
        return " ".join(f"echo {{job.id}} >> starts; while [ -e hold ] && [ $HOLD = yes ]; do sleep 0.02; done;"
                        for job in jobs) + " {end}"
"""
PYTHON = """
    import os, time
    @Project.operation
    {post}
    def work(job):
        handle = os.open("starts", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (job.id + "\\n").encode())
        os.close(handle)
        while os.path.exists("hold") and os.environ["HOLD"] == "yes":
            time.sleep(0.02)
        {end}
"""


def share(study, monkeypatch: pytest.MonkeyPatch, *options: str) -> Counter[str]:
    """Let a run stand still in its first tasks while another does what there is; return how often each began."""
    (study.path / "hold").touch()
    (study.path / "starts").unlink(missing_ok=True)
    slots = 2 if "--parallel" in options else 1
    monkeypatch.setenv("HOLD", "yes")
    slow = study.start("run", *options)
    until(lambda: len(starts(study)) == slots)
    monkeypatch.setenv("HOLD", "no")
    study.cli("run", *options, check=None)
    assert len(starts(study)) > slots
    (study.path / "hold").unlink()
    _, said = slow.communicate(timeout=60)
    assert slow.returncode in (0, 1), said
    return Counter(starts(study))


def starts(study) -> list[str]:
    path = study.path / "starts"
    return path.read_text().split() if path.exists() else []


FAILS = 'raise RuntimeError("on purpose")'


@pytest.mark.parametrize("options", [(), ("--parallel", "2")])
@pytest.mark.parametrize(
    "body",
    [
        SHELL.format(batch=1, end="false"),
        PYTHON.format(post='@Project.post.isfile("never")', end=FAILS),
        PYTHON.format(post="@Project.post(lambda job: False)", end=FAILS),
        PYTHON.format(post="", end=FAILS),
        PYTHON.format(post="", end=""),
        PYTHON.format(post='@Project.post.isfile("never")', end=""),
        PYTHON.format(post='@Project.post.isfile("a")', end='open(job.fn("a"), "w").close()'),
    ],
    ids=["shell", "python", "opaque", "no-post", "ends-well-no-post", "ends-well", "completes"],
)
def test_what_another_run_has_ended_meanwhile_is_not_begun_again(make_study, monkeypatch, body: str, options) -> None:
    study = make_study(body, *({"x": x} for x in range(6)))
    begun = share(study, monkeypatch, *options)
    assert sorted(begun) == study.make_jobs()
    assert set(begun.values()) == {1}


def test_batches_leave_out_what_has_failed_elsewhere(make_study, monkeypatch) -> None:
    study = make_study(SHELL.format(batch=2, end="false"), *({"x": x} for x in range(6)))
    begun = share(study, monkeypatch)
    assert set(begun.values()) == {1}


def test_two_runs_that_retry_what_failed_try_each_task_once(make_study, monkeypatch) -> None:
    study = make_study(SHELL.format(batch=1, end="false"), *({"x": x} for x in range(6)))
    monkeypatch.setenv("HOLD", "no")
    study.cli("run", check=1)
    begun = share(study, monkeypatch, "--retry-failed")
    assert sorted(begun) == study.make_jobs()
    assert set(begun.values()) == {1}
    states = [task["state"] for task in json.loads(study.cli("status", "--json").stdout)["tasks"]]
    assert states == ["failed"] * 6


def test_a_job_that_gets_another_state_point_is_still_being_worked_on(make_study, monkeypatch) -> None:
    study = make_study(
        """
        import os, time
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            job.sp.y = 1
            with open("starts", "a") as file:
                file.write(f"{job.id}\\n")
            while os.path.exists("hold"):
                time.sleep(0.02)
            open(job.fn("a"), "w").close()
        """,
        {"x": 0},
    )
    (study.path / "hold").touch()
    run = study.start("run")
    until(lambda: starts(study))
    (job_id,) = study.make_jobs()
    assert starts(study) == [job_id]
    assert "being worked on by another process" in study.cli("run").stderr
    (task,) = json.loads(study.cli("status", "--json").stdout)["tasks"]
    assert (task["aggregate"], task["state"]) == (job_id, "running")
    (study.path / "hold").unlink()
    run.communicate(timeout=60)
    assert starts(study) == [job_id]


def test_a_task_that_a_run_tries_again_is_left_to_whoever_has_done_it_meanwhile(make_study) -> None:
    study = make_study(
        """
        @Project.operation(cmd=True, retries=3)
        def work(job):
            return "echo begin >> starts; test -e mended"
        """,
        {"x": 0},
    )
    run = study.start("run")
    # It waits 1 s, 2 s and then 4 s before it tries again.
    until(lambda: sum(path.read_text().count('"failed"') for path in study.path.glob(".pointillist/journal/*")) == 3)
    (study.path / "mended").touch()
    study.cli("run", "--retry-failed")
    run.communicate(timeout=60)
    assert len(starts(study)) == 4
