"""How a scheduler's command is run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from patience import until

from pointillist.cluster.schedulers.commands import run_command


def has_ended(pid: int) -> bool:
    """Whether a process is gone, or waits to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_command_whose_offspring_holds_on_to_its_output_is_left_in_time(tmp_path: Path) -> None:
    stray = tmp_path / "stray"
    script = f"setsid sleep 60 & echo $! > {stray}; echo said; sleep 60"
    try:
        answer = run_command(["sh", "-c", script], timeout_s=0.5)
        assert answer.timed_out
        assert answer.stdout == "said\n"
        os.kill(int(stray.read_text()), 0)  # it lived all the while
    finally:
        os.kill(int(stray.read_text()), signal.SIGKILL)


def test_command_that_is_late_goes_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    answer = run_command(["sh", "-c", f"sleep 60 & echo $! > {child}; wait"], timeout_s=0.5)
    assert answer.timed_out
    assert answer.stdout == ""
    until(lambda: has_ended(int(child.read_text())))
