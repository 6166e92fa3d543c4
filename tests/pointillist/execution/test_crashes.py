"""Kill a run anywhere: the next one tells the truth, goes on, and ends with the same bytes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from patience import until

BODY = """
import os, shlex, sys, time

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "record")

def note(text):
    handle = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, (text + "\\n").encode())
    os.close(handle)

def write(path, text):
    with open(path + "~", "w") as file:
        file.write(text)
    os.rename(path + "~", path)

@Project.post.isfile("a")
@Project.operation
def first(job):
    note(f"begin first {job.id}")
    time.sleep(0.02)
    write(job.fn("a"), str(job.sp.x))
    note(f"done first {job.id}")

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True, batch=True)
def second(*jobs):
    lines = []
    for job in jobs:
        d = f"workspace/{job.id}"
        lines.append(f"echo begin second {job.id} >> record; sleep 0.03; cat {d}/a {d}/a > {d}/b~; mv {d}/b~ {d}/b; "
                     f"echo done second {job.id} >> record")
    return "; ".join(lines)

@Project.pre.after(second)
@Project.post.isfile("c")
@Project.operation(cmd=True)
def third(job):
    d = f"workspace/{job.id}"
    return (f"echo begin third {job.id} >> record; sleep 0.02; cat {d}/b > {d}/c~; echo end >> {d}/c~; "
            f"mv {d}/c~ {d}/c; echo done third {job.id} >> record")

@Project.pre.after(third)
@Project.post(lambda *jobs: all(job.isfile("d") for job in jobs))
@Project.operation(aggregator=aggregator.groupby("g"))
def fourth(*jobs):
    name = jobs[0].id
    note(f"begin fourth {name}")
    for job in jobs:
        write(job.fn("d"), ",".join(open(j.fn("c")).read() for j in jobs))
    note(f"done fourth {name}")
"""
POINTS = [{"x": x, "g": x % 2} for x in range(6)]

# Runs the project in this process and kills it without warning at the n-th call that changes the disk.
KILLER = """
import os, runpy, signal, sys
left, parent = int(sys.argv[1]), os.getpid()
def deadly(function):
    def call(*arguments, **options):
        global left
        if os.getpid() == parent:
            left -= 1
            if left == 0:
                os.kill(parent, signal.SIGKILL)
        return function(*arguments, **options)
    return call
for name in ("write", "symlink", "link", "unlink", "rename", "replace", "mkdir", "fsync", "fork"):
    setattr(os, name, deadly(getattr(os, name)))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def results(study) -> dict[str, bytes]:
    return {
        f"{folder.name}/{name}": (folder / name).read_bytes()
        for folder in sorted((study.path / "workspace").iterdir())
        for name in "abcd"
    }


@pytest.fixture
def undisturbed(make_study) -> dict[str, bytes]:
    study = make_study(BODY, *POINTS, name="undisturbed")
    study.cli("run", "--parallel", "2")
    return results(study)


def check_end(study, undisturbed: dict[str, bytes]) -> None:
    """Finish a disturbed study and compare; what was complete must not have been run again."""
    study.cli("run", "--parallel", "2")
    assert results(study) == undisturbed
    begun: set[str] = set()
    done: set[str] = set()  # a kill between the last write of a task and this note leaves it out
    for line in (study.path / "record").read_text().splitlines():
        event, task = line.split(" ", 1)
        if event == "done":
            done.add(task)
        else:
            begun.add(task)
            assert task not in done, f"{task} was complete and ran again"
    assert len(begun) == 20
    status = study.cli("status").stdout.splitlines()
    assert [line.split()[1:] for line in status[3:7]] == [[n, "0", "0", "0", "0"] for n in ("6", "6", "6", "2")]
    assert not list((study.path / ".pointillist" / "claims").glob("*/*"))


def kill_tree(process: subprocess.Popen[str]) -> None:
    # Stopped first, so that it starts nothing while it is looked at.
    process.send_signal(signal.SIGSTOP)
    parent = psutil.Process(process.pid)
    for member in [parent, *parent.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    process.communicate()


def test_killed_with_all_children_at_many_moments(make_study, undisturbed) -> None:
    study = make_study(BODY, *POINTS)
    killed = 0
    for moment in range(12):
        run = study.start("run", "--parallel", "2")
        time.sleep(0.15 + 0.05 * moment)
        if run.poll() is None:
            killed += 1
            kill_tree(run)
        else:
            run.communicate()
    assert killed >= 3
    check_end(study, undisturbed)


@pytest.mark.parametrize("first_call", range(1, 8))
def test_killed_between_any_two_writes(make_study, undisturbed, first_call: int) -> None:
    study = make_study(BODY, *POINTS)
    (study.path.parent / "killer.py").write_text(KILLER)
    ends = []
    for call in range(first_call, 200, 7):
        command = [sys.executable, str(study.path.parent / "killer.py"), str(call), *study.command("run")[1:]]
        ends.append(subprocess.run(command, cwd=study.path, capture_output=True, timeout=60).returncode)
        _wait_until_alone(study.path)
        if ends[-1] == 0:
            break
    assert -signal.SIGKILL in ends
    check_end(study, undisturbed)


BRIEF = """
import os

RECORD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "record")

@Project.post.isfile("a")
@Project.operation
def first(job):
    handle = os.open(RECORD, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"first {job.id}\\n".encode())
    os.close(handle)
    open(job.fn("a"), "w").close()

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True)
def second(job):
    return f"cp {job.fn('a')} {job.fn('b')}"
"""


@pytest.mark.parametrize("first_call", range(1, 6))
def test_brief_tasks_that_stood_in_line_are_lost_with_nothing(make_study, first_call: int) -> None:
    study = make_study(BRIEF, *({"x": x} for x in range(16)))
    (study.path.parent / "killer.py").write_text(KILLER)
    ends = []
    for call in range(20 + 7 * first_call, 400, 41):
        command = [sys.executable, str(study.path.parent / "killer.py"), str(call), *study.command("run")[1:]]
        ends.append(subprocess.run(command, cwd=study.path, capture_output=True, timeout=60).returncode)
        _wait_until_alone(study.path)
        states = study.cli("status").stdout.splitlines()[3:5]
        for line, name in zip(states, "ab", strict=True):
            done = len(list((study.path / "workspace").glob(f"*/{name}")))
            assert line.split()[1] == str(done), line
            assert sum(map(int, line.split()[1:])) == 16
        if ends[-1] == 0:
            break
    assert -signal.SIGKILL in ends
    study.cli("run")
    assert len(list((study.path / "workspace").glob("*/b"))) == 16
    # Nothing that was complete ran again; what was killed in the midst of its work may have.
    begun = (study.path / "record").read_text().splitlines()
    assert len(begun) == len(set(begun)) == 16
    assert not list((study.path / ".pointillist" / "claims").glob("*/*"))


def test_parent_killed_alone_leaves_its_children_their_tasks(make_study) -> None:
    body = """
        import time, os
        @Project.post.isfile("a")
        @Project.operation
        def work(job):
            with open(job.fn("times"), "a") as file:
                file.write("x")
            open(job.fn("started"), "w").close()
            while not job.isfile("go"): time.sleep(0.02)
            open(job.fn("a"), "w").close()
    """
    study = make_study(body, {"x": 0})
    (job_id,) = study.make_jobs()
    run = study.start("run")
    until((study.job(job_id) / "started").exists)
    run.kill()
    run.wait()
    # The orphan is still at work: a second run must leave its task alone.
    assert "worked on by another process" in study.cli("run").stderr
    (study.job(job_id) / "go").touch()
    _wait_until_alone(study.path)
    study.cli("run")
    assert (study.job(job_id) / "times").read_text() == "x"
    run.communicate()


def _wait_until_alone(path: Path) -> None:
    """Wait until no process works in the study any more: orphans may finish what they had begun."""
    until(lambda: not any(_works_in(process, path) for process in psutil.process_iter()))


def _works_in(process: psutil.Process, path: Path) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == path
    except psutil.Error:
        return False
