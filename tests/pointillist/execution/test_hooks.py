"""Hooks in real runs: in this process, in workers, for shell operations and for ``exec``."""

from __future__ import annotations

import json
import subprocess

import pytest
import signac

from pointillist.hooks import TrackOperations

BODY = """
def note(text):
    with open("notes", "a") as file:
        file.write(text + "\\n")

class Child(Project):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.project_hooks.on_start.append(lambda name, *jobs: note(f"project start {name}"))

@Project.operation_hooks.on_start(lambda name, job: note(f"start {name} {job.sp.x}"))
@Project.operation_hooks.on_success(lambda name, job: note(f"success {name}"))
@Project.operation_hooks.on_exception(lambda name, error, job: note(f"exception {name} {error}"))
@Project.operation_hooks.on_exit(lambda name, job: note(f"exit {name}"))
@Project.operation
def python(job):
    note("python")
    if job.sp.x:
        raise ValueError("no good")

@Project.operation_hooks.on_start(lambda name, job: note(f"start {name} {job.sp.x}"))
@Project.operation_hooks.on_success(lambda name, job: note(f"success {name}"))
@Project.operation_hooks.on_exception(lambda name, error, job: note(f"exception {name}"))
@Project.operation_hooks.on_exit(lambda name, job: note(f"exit {name}"))
@Project.operation(cmd=True)
def shell(job):
    return f"echo shell >> notes; exit {job.sp.x}"

Project = Child
"""


@pytest.mark.parametrize("operation", ["python", "shell"])
@pytest.mark.parametrize("x", [0, 1])
@pytest.mark.parametrize("how", ["run", "run --parallel 2", "exec"])
def test_hooks_are_called_in_order_and_inherited(make_study, operation: str, x: int, how: str) -> None:
    study = make_study(BODY, {"x": x})
    words = ["exec", operation] if how == "exec" else [*how.split(), "-o", operation]
    study.cli(*words, check=x)
    middle = f"exception {operation}" + (" no good" if operation == "python" else "") if x else f"success {operation}"
    assert (study.path / "notes").read_text().splitlines() == [
        f"project start {operation}",
        f"start {operation} {x}",
        operation,
        middle,
        f"exit {operation}",
    ]


@pytest.mark.parametrize("form", ["@Project.operation", "@Project.operation(cmd=True)"])
@pytest.mark.parametrize("event", ["on_start", "on_success"])
def test_a_hook_that_raises_makes_the_task_fail(make_study, form: str, event: str) -> None:
    body = f"@Project.operation_hooks.{event}(lambda *a: 1 / 0)\n{form}\ndef work(job): return 'true'"
    study = make_study(body, {"x": 0})
    assert "ZeroDivisionError" in study.cli("run", check=1).stderr


TRACKED = """
from pointillist.hooks import TrackOperations
track = TrackOperations(strict_git={strict})

@track.install_operation_hooks(Project)
@Project.operation
def one(job):
    pass

@Project.operation(aggregator=aggregator())
def many(*jobs):
    raise ValueError("no good")
track.install_operation_hooks(many, Project)
"""


def test_tracking_writes_a_history_into_each_job(make_study) -> None:
    study = make_study(TRACKED.format(strict=False), {"x": 0}, {"x": 1})
    study.cli("run", check=1)
    for job_id in study.make_jobs():
        records = [
            json.loads(line) for line in (study.job(job_id) / "signac_execution_history.log").read_text().splitlines()
        ]
        by_operation = {
            name: [(r["stage"], r["error"]) for r in records if r["operation"] == name] for name in ("one", "many")
        }
        assert by_operation == {
            "one": [("prior", None), ("after", None)],
            "many": [("prior", None), ("after", "ValueError: no good")],
        }
        assert all(r["job_id"] == job_id and r["_schema_version"] == "1" for r in records)
        assert all(r["project"]["path"] == str(study.path) for r in records)
        assert {len(r["aggregate"]) for r in records if r["operation"] == "many"} == {2}
        job = signac.get_project(str(study.path)).open_job(id=job_id)
        assert TrackOperations.read_log(job) == records


def test_strict_tracking_wants_a_commit_and_notes_it(make_study) -> None:
    study = make_study(TRACKED.format(strict=True), {"x": 0})
    assert "no git commit" in study.cli("run", "-o", "one", check=1).stderr
    (study.path / ".gitignore").write_text(".pointillist\nworkspace\n__pycache__\n")

    def git(*words: str) -> str:
        options = ["-c", "user.name=n", "-c", "user.email=e@example.org", "-C", str(study.path)]
        return subprocess.run(["git", *options, *words], check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "-m", "first")
    study.cli("run", "-o", "one", "--retry-failed")
    log = study.job(study.make_jobs()[0]) / "signac_execution_history.log"
    assert json.loads(log.read_text().splitlines()[-1])["project"]["git"] == {
        "commit_id": git("rev-parse", "HEAD"),
        "dirty": False,
    }
    (study.path / ".gitignore").write_text("changed")
    assert "differ from the git commit" in study.cli("run", "-o", "one", check=1).stderr


def test_redirect_log_honours_the_file_name(make_study) -> None:
    study = make_study(
        """
        import logging
        @Project.post.isfile("own.log")
        @Project.operation
        def work(job):
            with redirect_log(job, filename="own.log"):
                logging.getLogger("study").warning("seen")
            logging.getLogger("study").warning("not seen")
        """,
        {"x": 0},
    )
    study.cli("run")
    text = (study.job(study.make_jobs()[0]) / "own.log").read_text()
    assert "WARNING  seen" in text
    assert "not seen" not in text


def test_a_process_of_its_own_does_the_task_its_run_has_claimed(make_study) -> None:
    study = make_study(
        """
        import os, sys
        @Project.post.isfile("done")
        @Project.operation(directives={"executable": "env OWN=1 " + sys.executable, "omp_num_threads": 3})
        def work(job):
            open(job.fn("done"), "w").write(os.environ["OWN"] + os.environ["OMP_NUM_THREADS"])
        """,
        {"x": 0},
    )
    assert "1 completed" in study.cli("run").stderr
    assert (study.job(study.make_jobs()[0]) / "done").read_text() == "13"
