"""A full disk, at any moment: a sentence says so, what was complete stays complete, and with room all goes on."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
