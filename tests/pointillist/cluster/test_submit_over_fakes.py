"""``submit`` from the shell to the end, over the imitated commands of PBS and LSF; Slurm has the real one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chain import CHAIN
from fake_schedulers.queue import FakeScheduler
from faking import put_on_path

GROUPED = """
both = Project.make_group("both", submit_options="--num-passes 2")

@both
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={"walltime": 1, "np": 2, "memory": 1})
def first(*jobs):
    return "; ".join(f"touch workspace/{job.id}/a" for job in jobs)

@both(directives={"walltime": 2, "memory": 3})
@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True, directives={"walltime": 30})
def second(*jobs):
    return "; ".join(f"touch workspace/{job.id}/b" for job in jobs)
"""


POINTS = [{"x": x} for x in range(3)]
ENVIRONMENTS = {"pbs": "DefaultPBSEnvironment", "lsf": "DefaultLSFEnvironment"}


@pytest.fixture(params=ENVIRONMENTS)
def fake(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    """The commands of one scheduler on PATH."""
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", ENVIRONMENTS[request.param])
    return put_on_path(request.param, tmp_path, monkeypatch)


def finish(fake: FakeScheduler) -> None:
    while fake.advance():
        pass


def states(study: Any) -> list[str]:
    return [task["state"] for task in json.loads(study.cli("status", "--json").stdout)["tasks"]]


def programs(fake: FakeScheduler) -> list[str]:
    return [call[0] for call in fake.calls()]


@pytest.mark.parametrize("options", [[], ["--bundle", "2", "--parallel"]], ids=" ".join)
def test_everything_is_done_after_one_command(make_study: Any, fake: FakeScheduler, options: list[str]) -> None:
    study = make_study(CHAIN, *POINTS, name="a study's $HOME")
    study.cli("submit", "--all", *options)
    assert states(study) == 7 * ["queued"]
    assert study.cli("submit", "--all", *options).stdout == ""
    finish(fake)
    assert states(study) == 7 * ["completed"]


def test_array_is_one_submission_under_the_ids_that_are_shown(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    shown = study.cli("submit").stdout
    submits = [word for word in programs(fake) if word in ("sbatch", "qsub", "bsub")]
    assert len(submits) == 1
    assert shown.split()[0].startswith("100")
    assert shown.split()[0].endswith("_[0-2]")
    fake.start()
    assert states(study) == 3 * ["running"] + 4 * ["waiting"]


def test_failure_is_told_in_words_and_cancels_what_waits_for_it(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    (study.path / "bad-1").touch()
    study.cli("submit", "--all")
    finish(fake)
    status = study.cli("status")
    assert sorted(states(study)[:3]) == ["completed", "completed", "failed"]
    assert states(study)[6] == "waiting"
    assert "Its script ended with an error." in status.stderr
    assert "next: mend the cause, then: python project.py submit --retry-failed" in status.stderr
    (study.path / "bad-1").unlink()
    study.cli("submit", "--all", "--retry-failed")
    finish(fake)
    assert states(study) == 7 * ["completed"]


@pytest.mark.parametrize(
    "look", [["status", "-o", "second"], ["status", "-o", "first", "-j", "OTHER"], ["submit", "-o", "second"]]
)
def test_end_is_judged_alike_by_a_command_about_something_else(
    make_study: Any, fake: FakeScheduler, look: list[str]
) -> None:
    study = make_study(CHAIN, *POINTS)
    one, other, _ = study.make_jobs()
    study.cli("submit", "-o", "first", "-j", one)
    fake.end(*fake.start(), exit_code=1)
    study.cli(*(other if word == "OTHER" else word for word in look))
    assert states(study)[:3] == ["failed", "eligible", "eligible"]


def test_end_is_judged_by_all_attempts_in_a_command_about_some(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    one, other, _ = study.make_jobs()
    study.cli("submit", "-o", "first", "--bundle", "3")
    study.cli("exec", "first", one)
    fake.end(*fake.start(), exit_code=1)
    study.cli("status", "-o", "first", "-j", other)
    assert states(study)[:3] == ["completed", "eligible", "eligible"]


def test_failed_group_on_jobs_that_only_it_puts_together_is_not_submitted_again(
    make_study: Any, fake: FakeScheduler
) -> None:
    study = make_study(GROUPED.replace('submit_options="--num-passes 2"', "group_aggregator=aggregator()"), *POINTS)
    study.cli("submit", "-o", "both")
    fake.end(*fake.start(), exit_code=1)
    study.cli("status")
    assert "no selected task is eligible" in study.cli("submit", "-o", "both").stderr
    assert study.cli("submit", "-o", "both", "--retry-failed").stdout.endswith("2 tasks\n")


def test_cancel_takes_back_what_is_selected(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("submit", "--hold")
    one = study.make_jobs()[0]
    assert "Cancelled 1 task." in study.cli("cancel", "-j", one).stderr
    assert sorted(states(study)[:3]) == ["eligible", "queued", "queued"]
    study.cli("cancel", "--all")
    assert states(study)[:3] == 3 * ["eligible"]


def test_cancel_all_takes_back_what_the_study_no_longer_speaks_of(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(GROUPED.replace('submit_options="--num-passes 2"', "group_aggregator=aggregator()"), *POINTS)
    study.cli("submit", "-o", "both", "--hold")
    study.write_project(CHAIN)
    study.cli("submit", "-o", "first", "--hold")
    assert "Cancelled 5 tasks." in study.cli("cancel", "--all").stderr
    assert "No selected task is on the cluster." in study.cli("cancel", "--all").stderr


def test_dead_scheduler_takes_nothing_and_hides_nothing(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("submit", "-n", "2")
    fake.set(down=True)
    assert "Warning" in study.cli("status").stderr
    assert sorted(states(study)[:3]) == ["eligible", "queued", "queued"]
    assert study.cli("submit", check=4).stdout == ""
    fake.set(down=False)
    study.cli("submit")
    assert len(fake.jobs()) == 3


def test_log_of_the_cluster_job_is_found(make_study: Any, fake: FakeScheduler) -> None:
    study = make_study(CHAIN, *POINTS)
    study.cli("submit")
    finish(fake)
    one = study.make_jobs()[0]
    assert "1 completed" in study.cli("logs", "-o", "first", "-j", one).stdout


@pytest.mark.parametrize("by_name", [True, False], ids=["by name", "from Python"])
def test_group_is_in_the_queue_with_all_that_is_open(make_study: Any, fake: FakeScheduler, by_name: bool) -> None:
    study = make_study(GROUPED, *POINTS)
    (study.job(study.make_jobs()[0]) / "a").touch()
    if by_name:
        answer = study.cli("submit", "-o", "both")
        assert "_[0-2]  both  5 tasks" in answer.stdout
    else:
        call = "from project import Project; print(Project.get_project().submit(names=['both'])[0].id)"
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", call], cwd=study.path, capture_output=True, text=True
        )
        assert done.stdout.startswith("100"), done.stderr
    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    assert [task["state"] for task in tasks] == ["completed"] + 5 * ["queued"]
    for names in (["both"], ["first"], ["first", "second"]):
        assert study.cli("submit", "-o", *names).stdout == ""
    while fake.advance():
        pass
    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    assert [task["state"] for task in tasks] == 6 * ["completed"]
