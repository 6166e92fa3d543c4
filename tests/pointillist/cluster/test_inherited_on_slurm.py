"""A project comes over from signac-flow with work in the queue of a real Slurm: followed, done once, by its own lines.

Scripts, names of cluster jobs, ``_status`` and ``.bundles`` are those that signac-flow 0.29.1 has written for such a
project.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import signac
from patience import until
from slurm_service import SlurmService
from waiting import queue_is_empty, states

from pointillist import get_aggregate_id
from pointillist.definition.groups import job_operation_id

BODY = """
import os

both = Project.make_group("both", submit_options="--num-passes 3", run_options="-v")

def note(operation, *jobs):
    with open("ran", "a") as file:
        for job in jobs:
            file.write(f"{operation} {job.sp.x}\\n")

@both
@Project.post.true("a")
@Project.operation
def first(job):
    note("first", job)
    job.doc.a = True

@both
@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(with_job=True, directives={"fork": True})
def second(job):
    os.chdir(job.project.path)
    note("second", job)
    open(job.fn("b"), "w").close()

@Project.post(lambda *jobs: all(job.isfile("c") for job in jobs))
@Project.operation(aggregator=aggregator.groupby("g"))
def third(*jobs):
    note("third", *jobs)
    for job in jobs:
        open(job.fn("c"), "w").close()
"""
SUBMITTED = 4
HEAD = """\
#!/bin/bash
#SBATCH --job-name="{name}"
#SBATCH --ntasks={tasks}

set -e
set -u

cd {path}


"""


class Queue:
    """What signac-flow has in the queue, and what it has written down of that."""

    def __init__(self, study: Any) -> None:
        self.study = study
        self.status: dict[str, int] = {}

    def known_as(self, aggregate_id: str, *operations: str) -> str:
        return job_operation_id("Project", str(self.study.path), aggregate_id, operations)

    def line(self, called: str, aggregate_id: str) -> str:
        options = " --num-passes 3" if called == "both" else ""
        return f"{sys.executable} {self.study.path}/project.py run -o {called} -j {aggregate_id}{options}"

    def add(self, *tasks: tuple[str, str, tuple[str, ...]], parallel: bool = False, body: str = "") -> None:
        """Submit a script: of each task what ``-o`` and ``-j`` name, and the operations in it."""
        ids = [self.known_as(aggregate_id, *operations) for _, aggregate_id, operations in tasks]
        name = ids[0]
        if len(ids) > 1:
            name = f"Project/bundle/{len(self.status):040x}"
            listed = Path(self.study.path, ".bundles", name)
            listed.parent.mkdir(parents=True, exist_ok=True)
            listed.write_text("\n".join(ids))
        self.status |= dict.fromkeys(ids, SUBMITTED)
        text = HEAD.format(name=name, path=self.study.path, tasks=len(tasks) if parallel else 1)
        for called, aggregate_id, operations in tasks:
            line = body or self.line(called, aggregate_id)
            text += f"# {called}({aggregate_id})\n{line}{' &' if parallel else ''}\n# Eligible to run:\n"
            text += f"# {sys.executable} {self.study.path}/project.py exec {operations[0]} {aggregate_id}\n\n"
        text += "wait\n" if parallel else ""
        subprocess.run(["sbatch"], input=text, text=True, check=True, capture_output=True, cwd=self.study.path)
        (self.study.path / "signac_project_document.json").write_text(json.dumps({"_status": self.status}))


def test_what_signac_flow_has_in_the_queue_is_followed_and_done_once(make_study: Any, real_slurm: SlurmService) -> None:
    study = make_study(BODY, *({"x": x, "g": x % 2} for x in range(7)))
    project = signac.get_project(study.path)
    job = [project.open_job({"x": x, "g": x % 2}).id for x in range(7)]
    queue = Queue(study)
    # At the first, its own process is at work, which knows nothing of the new import.
    wait = "until test -e go; do sleep 0.1; done"
    done = f"""echo '{{"a": true}}' > workspace/{job[0]}/signac_job_document.json"""
    queue.add(("first", job[0], ("first",)), body=f"echo first 0 >> ran; {wait}; {done}")
    queue.add(("both", job[1], ("first", "second")), body=f"{wait}; {queue.line('both', job[1])}")
    until(lambda: len(real_slurm.run("squeue", "-h", "--states=running").splitlines()) == 2)
    queue.add(("first", job[2], ("first",)))
    queue.add(("both", job[3], ("first", "second")), ("both", job[4], ("first", "second")))
    queue.add(("first", job[5], ("first",)), ("first", job[6], ("first",)), parallel=True)
    for g in (0, 1):
        # In the order in which the file system lists them.
        queue.add(("third", get_aggregate_id([one for one in project if one.sp.g == g]), ("third",)))

    tasks = json.loads(study.cli("status", "--json").stdout)["tasks"]
    found = {(task["operation"], task["aggregate"]): task["state"] for task in tasks}
    assert [found["first", one] for one in job] == ["running"] * 2 + ["queued"] * 5
    assert [x for x in range(7) if found["second", job[x]] == "queued"] == [1, 3, 4]
    assert {state for (operation, _), state in found.items() if operation == "third"} == {"queued"}
    assert study.cli("submit").stdout == ""
    assert len(real_slurm.run("squeue", "-h").splitlines()) == 7
    assert "Nothing to do" in study.cli("run", "-o", "first").stderr

    (study.path / "go").touch()
    until(lambda: queue_is_empty(real_slurm), 180)
    study.cli("run")
    assert states(study) == {"first": {"completed"}, "second": {"completed"}, "third": {"completed"}}
    ran = Counter((study.path / "ran").read_text().splitlines())
    assert ran == Counter(f"{operation} {x}" for operation in ("first", "second", "third") for x in range(7))
