"""A full disk, at any moment: a sentence says so, what was complete stays complete, and with room all goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pointillist import FlowProject
from pointillist.state.journal import Journal, JournalWriter
from pointillist.state.sessions import Sessions
from pointillist.state.submissions import Ledger, LedgerWriter, Submission

CHAIN = """
@Project.post.isfile("a")
@Project.operation
def first(job):
    print("first of", job.sp.x)
    with open(job.fn("a~"), "w") as file: file.write("x" * 3000)
    import os
    os.rename(job.fn("a~"), job.fn("a"))

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True)
def second(job):
    return f"echo second && echo {'y' * 3000} > {job.path}/b~ && mv {job.path}/b~ {job.path}/b"
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of a megabyte in memory."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if os.getuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture
def study_on_disk(make_study: Callable, small_disk: Path) -> object:
    study = make_study(CHAIN, *({"x": x} for x in range(6)))
    shutil.copytree(study.path, small_disk / "study")
    study.path = small_disk / "study"
    return study


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Write a file until nothing more fits, or until so many bytes are left."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        while True:
            try:
                file.write(b"0" * 4096)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
        file.truncate(max(0, os.fstat(file.fileno()).st_size - leave))
    return ballast


def test_status_and_pretending_need_no_room(study_on_disk, small_disk: Path) -> None:
    study = study_on_disk
    study.cli("run", "-n", "2")
    fill(small_disk)
    assert ["first", "1", "5", "0", "0", "0"] in [x.split() for x in study.cli("status").stdout.splitlines()]
    assert len(json.loads(study.cli("status", "--json").stdout)["tasks"]) == 12
    assert "run -o first" in study.cli("submit", "--pretend").stdout
    assert study.cli("run", "--pretend").stdout.count("exec first") == 5
    assert "first" in study.cli("explain").stdout


@pytest.mark.parametrize("leave", [0, 4096, 8192, 16384, 28672, 40960])
@pytest.mark.parametrize("parallel", [(), ("--parallel", "2")])
def test_a_disk_that_fills_up_during_a_run_costs_nothing_that_was_done(
    study_on_disk, small_disk: Path, leave: int, parallel: tuple[str, ...]
) -> None:
    study = study_on_disk
    study.cli("run", "-o", "first", "-n", "1")
    ballast = fill(small_disk, leave=leave)
    run = study.cli("run", *parallel, check=None)
    assert run.returncode in (1, 2), run.stderr
    assert "No space left on device" in run.stderr
    assert "Traceback" not in run.stderr.replace("| Traceback", "")
    done = {path: path.read_bytes() for path in study.path.glob("workspace/*/[ab]")}
    assert all(len(content) >= 3000 for content in done.values())
    ballast.unlink()
    assert "is being worked on" not in study.cli("run", "--retry-failed", check=None).stderr
    study.cli("run", "--retry-failed")
    assert len(list(study.path.glob("workspace/*/[ab]"))) == 12
    assert {path: path.read_bytes() for path in done} == done
    states = {task["state"] for task in json.loads(study.cli("status", "--json").stdout)["tasks"]}
    assert states == {"completed"}


def test_half_a_line_on_a_full_disk_spoils_no_record_after_it(small_disk: Path) -> None:
    sessions = Sessions(str(small_disk))
    session = sessions.open()
    path = small_disk / "journal" / f"{session.id}.jsonl"
    writer = JournalWriter(Journal(str(small_disk / "journal")), session)
    ledger = LedgerWriter(Ledger(str(small_disk / "submissions")), session)
    recorded = [writer.start("work", "before", log="").id]
    ledger.intend(submission("before"))
    ballast = fill(small_disk)
    with pytest.raises(OSError, match="No space left on device"):
        recorded.extend(writer.start("work", f"job{number}", log="").id for number in range(100))
    with pytest.raises(OSError, match="No space left on device"):
        deque(map(ledger.intend, map(submission, map(str, range(100)))))
    assert not path.read_bytes().endswith(b"\n")
    ballast.unlink()
    recorded += [writer.start("work", f"after{number}", log="").id for number in range(3)]
    ledger.intend(submission("after"))
    names = [one.name for one in Ledger(str(small_disk / "submissions")).submissions()]
    assert names[0] == "before"
    assert names[-1] == "after"
    assert {attempt.id for attempt in Journal(str(small_disk / "journal")).attempts()} == set(recorded)
    writer.close()
    ledger.close()
    session.close()


def submission(name: str) -> Submission:
    moment = time.time()
    return Submission(name, "", moment, "slurm", "here", [[("work", "a")]], False, "script", "output", {}, [])


def test_nothing_goes_on_when_the_end_of_a_task_can_not_be_recorded(
    make_study: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Project(FlowProject):
        pass

    @Project.operation(cmd=True)
    def work(job: Any) -> str:
        return "true" if job.sp.x == 0 else f"echo $$ >> pids; echo $$ > {job.path}/begun; exec sleep 60"

    study = make_study("", *({"x": x} for x in range(3)))

    def full(*_: object, **__: object) -> None:
        while len(list(study.path.glob("workspace/*/begun"))) < 2:
            time.sleep(0.01)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(JournalWriter, "end", full)
    monkeypatch.chdir(study.path)
    with pytest.raises(OSError, match="No space left on device"):
        Project(study.path).run(np=3)
    for pid in map(int, (study.path / "pids").read_text().split()):
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert not list((study.path / ".pointillist" / "sessions").iterdir())
