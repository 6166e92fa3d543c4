"""``submit`` through the real Slurm: what was handed over runs, is followed, and ends in the right words."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from chain import CHAIN
from patience import until
from slurm_service import SlurmService
from waiting import queue_is_empty, states

BODY = """
import os

@Project.post.isfile("a")
@Project.operation(cmd=True, directives={"walltime": 0.02})
def first(job):
    return f"echo {job.sp.x} > workspace/{job.id}/a"

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True, batch=True, directives={"walltime": 0.02})
def second(*jobs):
    return "; ".join(f"cat workspace/{j.id}/a > workspace/{j.id}/b; echo $$ >> processes" for j in jobs)

@Project.pre.after(second)
@Project.post(lambda *jobs: all(j.isfile("c") for j in jobs))
@Project.operation(aggregator=aggregator())
def third(*jobs):
    for job in jobs:
        with open(job.fn("c"), "w") as file:
            file.write(f"{job.sp.x} of {len(jobs)}")
"""

SLEEPING = """
import os

@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    if os.path.exists("sleep"):
        return f"touch started && sleep 60 && touch workspace/{job.id}/a"
    return f"touch workspace/{job.id}/a"
"""

POINTS = [{"x": x} for x in range(4)]

pytestmark = pytest.mark.usefixtures("real_slurm")


@pytest.mark.parametrize(
    "options",
    [
        ["--all"],
        ["--all", "--no-array"],
        ["--all", "--bundle", "2"],
        ["--all", "--bundle", "2", "--parallel"],
        ["--all", "--bundle"],
        ["--all", "--bundle", "4", "--parallel", "2"],
    ],
    ids=" ".join,
)
def test_everything_is_done_after_one_command(make_study: Any, real_slurm: SlurmService, options: list[str]) -> None:
    study = make_study(BODY, *POINTS, name="a study's $HOME")
    study.cli("submit", *options)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"first": {"completed"}, "second": {"completed"}, "third": {"completed"}}
    assert [(study.job(i) / "b").read_text() for i in study.make_jobs()] == [
        (study.job(i) / "a").read_text() for i in study.make_jobs()
    ]


def test_array_is_one_submission_and_is_never_handed_over_twice(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(BODY, *POINTS)
    answer = study.cli("submit", "--hold")
    assert len(answer.stdout.splitlines()) == 1
    assert "_[0-3]  first  4 tasks" in answer.stdout
    again = study.cli("submit", "--hold")
    assert again.stdout == ""
    assert "4 tasks are on the cluster already" in again.stderr
    assert states(study) == {"first": {"queued"}, "second": {"waiting"}, "third": {"waiting"}}
    assert len(real_slurm.run("squeue", "-h", "-r").splitlines()) == 4


def test_batch_in_a_bundle_is_one_process(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(BODY, *POINTS)
    study.cli("run", "-o", "first")
    study.cli("submit", "--bundle", "4")
    until(lambda: queue_is_empty(real_slurm))
    assert len((study.path / "processes").read_text().split()) == 4
    assert len(set((study.path / "processes").read_text().split())) == 1


def test_failure_cancels_what_depends_on_it_and_status_says_so(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(CHAIN, *POINTS)
    (study.path / "bad-1").touch()
    study.cli("submit", "--all")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {
        "first": {"completed", "failed"},
        "second": {"completed", "waiting"},
        "third": {"waiting"},
    }
    study.write_project(CHAIN.replace("exit 3", "true"))
    study.cli("submit", "--all")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"first": {"completed"}, "second": {"completed"}, "third": {"completed"}}


def test_cancelled_task_may_run_again(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(SLEEPING, {"x": 1})
    (study.path / "sleep").touch()
    study.cli("submit")
    until((study.path / "started").exists)
    assert states(study) == {"first": {"running"}}
    study.cli("cancel", "-o", "first")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"first": {"eligible"}}
    (study.path / "sleep").unlink()
    study.cli("submit")
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"first": {"completed"}}


def ended_badly(
    study: Any, slurm: SlurmService, command: list[str], before: Callable[[], object] = lambda: None
) -> str:
    """Start a task, end its cluster job by a command of Slurm's, and return what status says of it."""
    (study.path / "sleep").touch()
    submitted = study.cli("submit", "--no-array")
    until((study.path / "started").exists)
    cluster_id = submitted.stdout.split()[0]
    before()
    slurm.run(*(word.format(id=cluster_id) for word in command))
    until(lambda: slurm.queue() in ([], ["PENDING"]))
    (study.path / "sleep").unlink()
    # Slurm calls it ended a moment before the last process of the task is gone, and until then it runs.
    until(lambda: states(study) != {"first": {"running"}})
    return str(study.cli("status").stderr)


def finishes(study: Any, slurm: SlurmService, *options: str) -> None:
    study.cli("submit", *options)
    until(lambda: queue_is_empty(slurm))
    assert states(study) == {"first": {"completed"}}


def test_scancel_is_said_and_a_submit_finishes(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(SLEEPING, {"x": 1})
    said = ended_badly(study, real_slurm, ["scancel", "{id}"])
    assert "cancelled" in said
    assert "next: python project.py submit" in said
    finishes(study, real_slurm)


def test_time_limit_is_said_and_a_submit_finishes(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(SLEEPING, {"x": 1})
    # Limits count in minutes; the end of a running job can be set to the second.
    said = ended_badly(study, real_slurm, ["scontrol", "update", "jobid={id}", "EndTime=now+1second"])
    assert "timed out. It ran into its time limit." in said
    assert "walltime" in said
    assert "logs/cluster/first-" in said
    assert states(study) == {"first": {"failed"}}
    assert study.cli("submit").stdout == ""
    finishes(study, real_slurm, "--retry-failed")


def test_lost_node_is_said_and_a_submit_finishes(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(SLEEPING.replace("cmd=True", 'cmd=True, directives={"requeue": False}'), {"x": 1})
    # The power goes; left alone, Slurm would notice after five minutes.
    down = ["scontrol", "update", "nodename=n1", "state=down", "reason=test"]
    try:
        said = ended_badly(study, real_slurm, down, before=real_slurm.kill_node)
        assert "Its node failed." in said
        assert states(study) == {"first": {"eligible"}}
    finally:
        real_slurm.start_node()
        real_slurm.run("scontrol", "update", "nodename=n1", "state=resume")
    finishes(study, real_slurm)


def test_broken_script_fails_its_tasks_and_shows_where(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(SLEEPING, {"x": 1})
    (study.path / "templates").mkdir()
    template = "{% extends base_script %}{% block custom_content %}module_that_is_not_there load x{% endblock %}"
    (study.path / "templates" / "script.sh").write_text(template)
    study.cli("submit")
    until(lambda: queue_is_empty(real_slurm))
    said = study.cli("status").stderr
    assert "Its script ended with an error." in said
    assert states(study) == {"first": {"failed"}}
    assert "module_that_is_not_there" in study.cli("logs").stdout


def test_dead_scheduler_hides_nothing_else_and_takes_nothing(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(BODY, *POINTS)
    study.cli("submit", "--hold", "-n", "2")
    real_slurm.stop_controller()
    try:
        shown = study.cli("status")
        assert "first" in shown.stdout
        assert "slurm" in shown.stderr
        refused = study.cli("submit", check=4)
        assert refused.stdout == ""
    finally:
        real_slurm.start_controller()
    assert len(real_slurm.run("squeue", "-h", "-r").splitlines()) == 2
    assert states(study) == {"first": {"queued", "eligible"}, "second": {"waiting"}, "third": {"waiting"}}


def test_script_runs_by_hand(make_study: Any) -> None:
    import subprocess

    study = make_study(BODY, *POINTS)
    study.cli("submit", "--hold")
    (script,) = (study.path / ".pointillist" / "scripts").glob("*.sh")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_ARRAY")}
    subprocess.run(["bash", str(script), "2"], env=environment, check=True)
    assert len(list((study.path / "workspace").glob("*/a"))) == 1


def test_call_from_python_returns_the_ids(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    study = make_study(BODY, *POINTS)
    code = "import project; print([s.id for s in project.Project.get_project().submit(hold=True, names=['first'])])"
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], cwd=study.path, capture_output=True, text=True, check=True)
    assert done.stdout.strip().strip("[]'").isdecimal()


def test_attempts_and_logs_are_linked_to_their_cluster_jobs(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(BODY, {"x": 5}, {"x": 6})
    base = study.cli("submit").stdout.split("_")[0]
    until(lambda: queue_is_empty(real_slurm))
    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    attempts = [task["last_attempt"] for task in tasks if task["operation"] == "first"]
    assert {one["cluster_job"]["id"] for one in attempts} == {f"{base}_0", f"{base}_1"}
    for one in attempts:
        assert (one["exit_code"], one["host"]) == (0, socket.gethostname())
        assert one["ended"] >= one["started"]
        assert one["peak_memory_bytes"] > 0
    assert f"in cluster job {base}_0 on" in study.cli("explain", "-o", "first", "--all").stdout
    (usage,) = json.loads(study.cli("usage", "--json").stdout)["operations"]
    assert (usage["cluster_jobs"], usage["hosts"]) == (2, [socket.gethostname()])
    shown = study.cli("logs", "-o", "first")
    assert shown.stderr.count("completed in cluster job") == 4
    assert shown.stdout.count("1 completed") == 2


GROUPED = BODY.replace("\n@Project.post", "\n@both\n@Project.post", 1).replace(
    "import os", 'both = Project.make_group("both", submit_options="--num-passes 2")'
)


def test_group_is_one_cluster_job_for_each_aggregate(make_study: Any, real_slurm: SlurmService) -> None:
    body = GROUPED.replace(
        "@Project.pre.after(first)", "@both(directives={'walltime': 0.1})\n@Project.pre.after(first)"
    )
    study = make_study(body, *POINTS)
    answer = study.cli("submit", "-o", "both", "--hold")
    assert "_[0-3]  both  8 tasks" in answer.stdout
    assert states(study) == {"first": {"queued"}, "second": {"queued"}, "third": {"waiting"}}
    told = real_slurm.run("scontrol", "--oneliner", "show", "job", answer.stdout.split("_")[0])
    assert "TimeLimit=00:08:00" in told
    real_slurm.run("scontrol", "release", answer.stdout.split("_")[0])
    until(lambda: queue_is_empty(real_slurm))
    assert states(study) == {"first": {"completed"}, "second": {"completed"}, "third": {"eligible"}}
