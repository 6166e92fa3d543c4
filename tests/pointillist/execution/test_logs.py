"""Logs of attempts: one each, none when there is nothing in it, and no file serves two that may both print."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pointillist.execution.running.logs import Logs

SHELL = """
    @Project.post.isfile("a")
    @Project.operation(cmd=True)
    def work(job):
        left_behind = f"( while ! [ -e go ]; do sleep 0.01; done; echo late {job.id} ) &"
        return f"{left_behind} touch {job.fn('a')}" + ("; touch go; sleep 0.02" if job.sp.x >= 15 else "")
"""
PYTHON = """
    import subprocess, time
    @Project.post.isfile("a")
    @Project.operation
    def work(job):
        left_behind = f"( while ! [ -e go ]; do sleep 0.01; done; echo late {job.id} ) &"
        subprocess.run(left_behind, shell=True)
        open(job.fn("a"), "w").close()
        if job.sp.x >= 15:
            open("go", "w").close()
            time.sleep(0.02)
"""


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(str(tmp_path / "logs"))


def files_in(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "logs").rglob("*.log"))


def test_each_attempt_has_a_log_of_its_own(tmp_path: Path, logs: Logs) -> None:
    opened = [logs.open("work", "a"), logs.open("work", "a"), logs.open("a/b", "a")]
    assert [os.path.relpath(path, tmp_path) for path, _ in opened] == [
        "logs/work/a.log",
        "logs/work/a.2.log",
        "logs/a%2Fb/a.log",
    ]
    for number, (path, handle) in enumerate(opened):
        os.write(handle, str(number).encode())
        logs.close(path, handle)
    logs.close_all()
    assert [Path(path).read_text() for path, _ in opened] == ["0", "1", "2"]


def test_an_empty_log_becomes_the_next_one(tmp_path: Path, logs: Logs) -> None:
    logs.close(*logs.open("work", "a"))
    path, handle = logs.open("work", "b")
    assert files_in(tmp_path) == ["b.log"]
    with open(path, "a") as file:
        file.write("said")
    assert os.pread(handle, 10, 0) == b"said"
    logs.close(path, handle)
    logs.close(*logs.open("work", "c"))
    logs.close_all()
    assert files_in(tmp_path) == ["b.log"]


def test_an_empty_log_that_somebody_still_has_open_serves_nobody_else(tmp_path: Path, logs: Logs) -> None:
    path, handle = logs.open("work", "a")
    with open(path, "a") as left_behind:
        logs.close(path, handle)
        path, handle = logs.open("work", "b")
        left_behind.write("late")
    assert os.fstat(handle).st_size == 0
    assert files_in(tmp_path) == ["b.log"]
    logs.close(path, handle)
    logs.close_all()
    assert files_in(tmp_path) == []


def test_a_folder_of_logs_may_be_taken_away_at_any_time(tmp_path: Path, logs: Logs) -> None:
    logs.close(*logs.open("work", "a"))
    os.unlink(tmp_path / "logs" / "work" / "a.log") if files_in(tmp_path) else None
    os.rmdir(tmp_path / "logs" / "work")
    path, handle = logs.open("work", "b")
    assert files_in(tmp_path) == ["b.log"]
    logs.close(path, handle)
    logs.close_all()


@pytest.mark.parametrize("body", [SHELL, PYTHON])
def test_what_brief_tasks_leave_behind_prints_into_no_log_of_others(make_study, body: str) -> None:
    study = make_study(body, *({"x": x} for x in range(30)))
    study.cli("run")
    for path in (study.path / ".pointillist" / "logs").rglob("*.log"):
        assert {line.split()[-1] for line in path.read_text().splitlines()} <= {path.stem}
