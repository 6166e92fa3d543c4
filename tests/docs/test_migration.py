"""What the page on migration claims: the schema it prints, and the forms it says are accepted."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import signac

PAGE = Path(__file__).resolve().parents[2] / "docs" / "migration.md"

OLD_PROJECT = """
from flow import FlowProject, aggregator, cmd, directives, with_job
import flow
import flow.errors
from flow.environment import DefaultSlurmEnvironment

assert issubclass(flow.errors.UserOperationError, RuntimeError)

class Project(FlowProject):
    pass

group = Project.make_group("group")

@Project.operation
@Project.post.isfile("a")
def first(job):
    open(job.fn("a"), "w").close()

@Project.operation.with_directives({"np": 1})
@Project.pre.after(first)
@Project.post.isfile("b")
@flow.cmd
@flow.with_job
@flow.directives(walltime=1)
@group.with_directives({"np": 2})
def second(job):
    return "touch b"

@aggregator.groupby("x")
@Project.operation
@Project.pre.after(second)
@Project.post(lambda *jobs: all(job.isfile("c") for job in jobs))
def third(*jobs):
    for job in jobs:
        open(job.fn("c"), "w").close()

if __name__ == "__main__":
    Project().main()
"""


def test_an_old_project_runs_behind_an_alias(tmp_path: Path) -> None:
    project = signac.init_project(tmp_path)
    for x in (0, 1):
        project.open_job({"x": x}).init()
    (tmp_path / "flow.py").write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1])
    (tmp_path / "project.py").write_text(OLD_PROJECT)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "project.py", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )

    assert "6 completed" in run("run").stderr
    document = json.loads(run("status", "--json").stdout)
    promised = json.loads(re.search(r"```json\n(.*?)```", PAGE.with_name("json.md").read_text(), re.DOTALL)[1])
    assert promised.keys() <= document.keys()
    for name in ("operations", "groups", "tasks"):
        assert promised[name][0].keys() <= document[name][0].keys()
    assert promised["tasks"][0]["last_attempt"].keys() <= document["tasks"][0]["last_attempt"].keys()
