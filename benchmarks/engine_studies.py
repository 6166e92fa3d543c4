"""Studies that both engines can run: project files of the same meaning for each, beside one workspace."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = """\
from {package} import FlowProject, aggregator

class Project(FlowProject):
    pass

@Project.post.true("ready")
@Project.operation
def first(job):
    job.document["ready"] = True

@Project.pre.after(first)
@Project.post.isfile("a.txt")
@Project.operation
def second(job):
    open(job.fn("a.txt"), "w").close()

@Project.pre.after(second)
@Project.post.isfile("b.txt")
@Project.operation
def third(job):
    open(job.fn("b.txt"), "w").close()
{more}
if __name__ == "__main__":
    Project().main()
"""

GROUPED = """
{content_condition}

@Project.pre(has_result)
@Project.post.isfile("table.txt")
@Project.operation(aggregator=aggregator.groupby("point"))
def together(*jobs):
    for job in jobs:
        open(job.fn("table.txt"), "w").close()
"""

CONTENT = {
    "flow": """\
import json
def has_result(*jobs):
    for job in jobs:
        if not job.isfile("result.json"):
            return False
        with open(job.fn("result.json")) as file:
            if "accuracy" not in json.load(file):
                return False
    return True""",
    "pointillist": 'from pointillist import has_keys\nhas_result = has_keys("result.json", ["accuracy"])',
}

OPAQUE = """
@Project.label
def is_ready(job):
    return job.document.get("ready", False)

@Project.label
def has_second(job):
    return job.isfile("a.txt")
"""

TASKS = """\
from {package} import FlowProject

class Project(FlowProject):
    pass

@Project.post.isfile("python.txt")
@Project.operation
def python(job):
    open(job.fn("python.txt"), "w").close()

@Project.post.isfile("shell.txt")
@Project.operation(cmd=True)
def shell(job):
    return "touch " + job.fn("shell.txt")

if __name__ == "__main__":
    Project().main()
"""

MAKE = {
    "flow": "import signac, sys\np = signac.get_project()\n"
    "for x in range(int(sys.argv[1])): p.open_job({'point': x // 3, 'seed': x % 3, 'rate': 0.001, 'kind': 'a'}).init()",
    "pointillist": "import sys\nfrom pointillist import FlowProject, make_jobs\n"
    "make_jobs(FlowProject(), [{'point': x // 3, 'seed': x % 3, 'rate': 0.001, 'kind': 'a'}"
    " for x in range(int(sys.argv[1]))])",
}


class Study:
    """A workspace with the project files of both engines beside it."""

    def __init__(self, folder: Path, jobs: int) -> None:
        from pointillist import FlowProject

        self.path = folder
        self.jobs = jobs
        folder.mkdir(parents=True)
        self._project = FlowProject.init_project(folder)
        for package in ("flow", "pointillist"):
            grouped = GROUPED.format(content_condition=CONTENT[package])
            for name, more in (("plain", ""), ("grouped", grouped), ("opaque", OPAQUE)):
                text = PROJECT.format(package=package, more=more)
                (folder / f"{package}_{name}.py").write_text(text)
            (folder / f"{package}_tasks.py").write_text(TASKS.format(package=package))
            (folder / f"{package}_make.py").write_text(MAKE[package])

    def fill(self) -> None:
        """Make the jobs, two thirds of them in the midst of their work."""
        from pointillist import make_jobs

        make_jobs(
            self._project,
            ({"point": x // 3, "seed": x % 3, "rate": 0.001, "kind": "a"} for x in range(self.jobs)),
        )
        for number, folder in enumerate(self.folders()):
            if number % 3:
                (folder / "signac_job_document.json").write_text('{"ready": true}')
                (folder / "result.json").write_text('{"accuracy": 0.5, "loss": 0.25}')
            if number % 3 == 2:
                (folder / "a.txt").touch()

    def folders(self) -> Iterator[Path]:
        """Yield the job folders."""
        for entry in os.scandir(self.path / "workspace"):
            yield Path(entry.path)

    def forget(self) -> None:
        """Take away what our engine remembers."""
        shutil.rmtree(self.path / ".pointillist", ignore_errors=True)

    def settle(self) -> None:
        """Wait until nothing is so new that it is not remembered, and let ours remember."""
        time.sleep(3)

    def change_ten(self) -> None:
        """Change ten jobs."""
        for number, folder in zip(range(10), self.folders(), strict=False):
            (folder / f"changed-{time.time_ns()}-{number}").touch()

    def check_tasks(self, name: str) -> None:
        """Make sure that a run has done what it was measured at."""
        done = sum(1 for _ in (self.path / "workspace").glob(f"*/{name}.txt"))
        if done != self.jobs:
            raise SystemExit(f"Only {done} of {self.jobs} tasks of {name} were done.")

    def clear_tasks(self) -> None:
        """Undo the trivial tasks."""
        self.forget()
        for name in ("python.txt", "shell.txt"):
            for path in (self.path / "workspace").glob(f"*/{name}"):
                path.unlink()
