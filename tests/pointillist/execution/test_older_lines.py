"""What programs and queued lines of signac-flow say: ids in its order of jobs, names that are no longer there."""

from __future__ import annotations

import os
import subprocess
from typing import Any

import pytest
import signac

from pointillist import FlowProject, aggregator, get_aggregate_id

TOGETHER = """
@Project.post(lambda *jobs: all(job.isfile("a") for job in jobs))
@Project.operation(aggregator=aggregator())
def together(*jobs):
    for job in jobs: open(job.fn("a"), "w").close()

@Project.operation(aggregator=aggregator.groupby("odd"))
def by_parity(*jobs): print("parity of", len(jobs))
"""


@pytest.fixture
def unsorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let signac see the jobs in another order than that of their ids, as most file systems show them."""
    listed = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path=".": sorted(listed(path), reverse=True))


def test_aggregates_are_known_by_the_ids_that_signac_flow_has_for_them(make_study) -> None:
    study = make_study(TOGETHER, *({"x": x, "odd": x % 2} for x in range(9)))
    project = signac.Project(study.path)
    everything = get_aggregate_id(project)
    odd = get_aggregate_id(job for job in project if job.sp.odd)
    assert "1 completed" in study.cli("run", "-o", "together", "-j", everything).stderr
    assert study.cli("exec", "by_parity", odd).stdout == "parity of 4\n"
    assert study.cli("exec", "by_parity", odd[:-6]).stdout == "parity of 4\n"
    assert "agg-0000" in study.cli("exec", "by_parity", "agg-0000", check=3).stderr


def test_a_tuple_of_all_jobs_in_signacs_order_is_an_aggregate(tmp_path: Any, unsorted: None) -> None:
    workspace, seen = signac.init_project(tmp_path), []
    for x in range(5):
        workspace.open_job({"x": x}).init()

    class Project(FlowProject):
        pass

    Project.operation("all", aggregator=aggregator())(lambda *jobs: seen.append(len(jobs)))
    project = Project(tmp_path)
    assert [job.id for job in project] != sorted(job.id for job in project)
    project.run(jobs=[tuple(project)])
    assert seen == [5]
    with pytest.raises(LookupError):
        project.run(jobs=[tuple(project)[:2]])


def test_names_that_match_nothing_are_told_and_the_others_run(tmp_path: Any, capsys: Any) -> None:
    signac.init_project(tmp_path).open_job({"x": 0}).init()
    seen = []

    class Project(FlowProject):
        pass

    Project.operation("work")(lambda job: seen.append(job.sp.x))
    project = Project(tmp_path)
    project.run(names=["gone", "work"])
    assert seen == [0]
    assert "Unrecognized flow operation(s): gone." in capsys.readouterr().err
    project.run(names=["wrok"])
    assert seen == [0]
    assert "Did you mean work?" in capsys.readouterr().err
    with pytest.raises(ValueError, match="several"):
        project.run(names="work")


def test_hooks_of_a_shell_operation_get_its_exit_code(tmp_path: Any) -> None:
    signac.init_project(tmp_path).open_job({"x": 0}).init()
    seen = []

    class Project(FlowProject):
        pass

    @Project.operation_hooks.on_exception(lambda name, error, job: seen.append(error))
    @Project.operation(cmd=True)
    def work(job):
        return "exit 42"

    with pytest.raises(RuntimeError, match="exit code 42"):
        Project(tmp_path).run()
    (error,) = seen
    assert isinstance(error, subprocess.CalledProcessError)
    assert error.returncode == error.args[0] == 42
