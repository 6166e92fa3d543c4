"""The processes in which Python operations run: how many there are, and what they cost."""

from __future__ import annotations

import pytest

COUNTED = """
import os, threading

def note(name):
    with open(name, "a") as file:
        file.write(f"{os.getpid()}\\n")

note("imported")
os.register_at_fork(after_in_child=lambda: note("forked"))
lock = threading.Lock()  # what can't be pickled

def made_here():
    def work(job):
        with lock:
            note("worked")
        open(job.fn("a"), "w").close()
    return work

Project.post.isfile("a")(Project.operation("work")(made_here()))
"""


def lines(study, name: str) -> list[str]:
    path = study.path / name
    return path.read_text().split() if path.exists() else []


@pytest.mark.parametrize(("jobs", "workers"), [(0, 0), (1, 1), (2, 2), (12, 2)])
def test_the_project_is_imported_once_and_no_worker_is_started_for_nothing(make_study, jobs: int, workers: int) -> None:
    study = make_study(COUNTED, *({"x": x} for x in range(12)))
    for job_id in study.make_jobs()[jobs:]:
        (study.job(job_id) / "a").touch()
    study.cli("run", "--parallel", "2", "--cores", "2")
    assert len(lines(study, "imported")) == 1
    assert len(lines(study, "worked")) == jobs
    assert len(lines(study, "forked")) <= workers
    assert set(lines(study, "worked")) <= set(lines(study, "forked"))
    assert not set(lines(study, "worked")) & set(lines(study, "imported"))


def test_a_task_that_wants_it_has_a_process_of_its_own(make_study) -> None:
    study = make_study(
        """
        import os

        @Project.operation(directives={"fork": True})
        def own(job):
            print("own", os.getpid())

        @Project.operation
        def shared(job):
            print("shared", os.getpid())
        """,
        *({"x": x} for x in range(3)),
    )
    told = [line.split() for line in study.cli("run").stdout.splitlines()]
    assert len({process for name, process in told if name == "own"}) == 3
    assert len({process for name, process in told if name == "shared"}) == 1
