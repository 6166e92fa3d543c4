"""Aggregates on the command line: whatever works for single jobs works for several together."""

from __future__ import annotations

import json

import pytest

BODY = """
def note(*words):
    with open("notes", "a") as file:
        file.write(" ".join(map(str, words)) + chr(10))

pairs = aggregator.groupby("g", sort_by="x")

@Project.operation_hooks.on_start(lambda name, *jobs: note("start", name, len(jobs)))
@Project.operation_hooks.on_success(lambda name, *jobs: note("success", name, len(jobs)))
@Project.operation_hooks.on_exception(lambda name, error, *jobs: note("exception", name, len(jobs)))
@Project.operation_hooks.on_exit(lambda name, *jobs: note("exit", name, len(jobs)))
@Project.post(lambda *jobs: all(job.isfile("a") for job in jobs))
@Project.operation(aggregator=pairs)
def python(*jobs):
    if jobs[0].sp.g:
        raise ValueError("no good")
    for job in jobs:
        open(job.fn("a"), "w").close()

@Project.operation_hooks.on_start(lambda name, *jobs: note("start", name, len(jobs)))
@Project.operation_hooks.on_success(lambda name, *jobs: note("success", name, len(jobs)))
@Project.operation_hooks.on_exception(lambda name, error, *jobs: note("exception", name, len(jobs)))
@Project.operation_hooks.on_exit(lambda name, *jobs: note("exit", name, len(jobs)))
@Project.pre.not_(lambda *jobs: len(jobs) != 2)
@Project.post.isfile("b")
@Project.operation(cmd=True, aggregator=pairs)
def shell(*jobs):
    return f"exit {jobs[0].sp.g}" if jobs[0].sp.g else "touch " + " ".join(job.fn("b") for job in jobs)

@Project.post.never
@Project.operation(aggregator=pairs)
def endless(*jobs):
    note("endless", len(jobs))

@Project.pre.never
@Project.operation(aggregator=pairs)
def nothing(*jobs):
    note("nothing", len(jobs))

@Project.post(lambda *jobs: jobs[0].sp.g / (1 - jobs[0].sp.g) > 0)
@Project.operation(aggregator=pairs)
def doubtful(*jobs):
    pass
"""
POINTS = [{"x": x, "g": x // 2} for x in range(4)]


@pytest.mark.parametrize("operation", ["python", "shell"])
@pytest.mark.parametrize("how", ["run -o", "run --parallel 2 -o", "exec"])
def test_hooks_get_all_jobs_however_the_operation_is_called(make_study, operation: str, how: str) -> None:
    study = make_study(BODY, *POINTS)
    study.cli(*how.split(), operation, check=1)
    ends = (["start", "success", "exit"], ["start", "exception", "exit"])
    wanted = [f"{event} {operation} 2" for events in ends for event in events]
    assert sorted((study.path / "notes").read_text().splitlines()) == sorted(wanted)


def test_never_and_conditions_that_raise_concern_their_own_tasks(make_study) -> None:
    study = make_study(BODY, *POINTS)
    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    states = {name: sorted(t["state"] for t in tasks if t["operation"] == name) for name in ("endless", "nothing")}
    assert states == {"endless": ["eligible"] * 2, "nothing": ["waiting"] * 2}
    assert sorted(t["state"] for t in tasks if t["operation"] == "doubtful") == ["broken", "eligible"]
    result = study.cli("run", "-o", "endless", "nothing", "doubtful", check=1)
    assert "ZeroDivisionError" in result.stderr
    assert "3 ended" in result.stderr
    assert (study.path / "notes").read_text() == "endless 2\n" * 2
    study.cli("exec", "nothing")  # whatever its conditions say
    assert (study.path / "notes").read_text().endswith("nothing 2\n" * 2)


def test_a_filter_selects_aggregates_of_single_jobs(make_study) -> None:
    study = make_study(
        """
        @Project.operation(aggregator=aggregator.groupby("g"))
        def together(*jobs):
            print("together", *sorted(job.sp.x for job in jobs))

        @Project.operation
        def single(job):
            print("single", job.sp.x)
        """,
        *POINTS,
        {"x": 4, "g": 2},
    )
    assert study.cli("run", "-f", "x", "1").stdout == "single 1\n"
    assert sorted(study.cli("run", "-f", "x", "4").stdout.splitlines()) == ["single 4", "together 4"]
    jobs = study.make_jobs()
    assert study.cli("run", "-f", "x", "1", "-j", *jobs).stdout == "single 1\n"
    assert "No job matches the filter" in study.cli("run", "-f", "x", "99", check=3).stderr
