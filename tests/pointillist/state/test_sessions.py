from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from patience import until

from pointillist.state.sessions import LOST_AFTER_S, Sessions

HOLDER = """
import subprocess, sys, time
from pointillist.state.sessions import Sessions
sessions = Sessions(sys.argv[1])
session = sessions.open()
assert sessions.claim(session, "work", "a")
if sys.argv[2:] == ["child"]:
    child = subprocess.Popen(["sleep", "60"], pass_fds=(session.lock_fd,))
    print(child.pid, flush=True)
else:
    print(session.id, flush=True)
time.sleep(60)
"""


@pytest.fixture
def sessions(tmp_path: Path) -> Sessions:
    return Sessions(str(tmp_path / "state"))


def test_a_task_is_claimed_once(sessions: Sessions) -> None:
    first, second = sessions.open(), sessions.open()
    assert sessions.claim(first, "work", "a")
    assert not sessions.claim(second, "work", "a")
    assert sessions.claim(second, "work", "b")
    assert sessions.claim(second, "other", "a")
    assert sessions.live_claims() == {("work", "a"): first.id, ("work", "b"): second.id, ("other", "a"): second.id}
    sessions.release("work", "a")
    assert sessions.claim(second, "work", "a")
    first.close()
    second.close()


def test_operation_names_may_hold_slashes(sessions: Sessions) -> None:
    session = sessions.open()
    assert sessions.claim(session, "a/../b c", "x")
    assert sessions.live_claims() == {("a/../b c", "x"): session.id}
    session.close()


def test_claim_of_a_killed_process_is_taken_over(tmp_path: Path, sessions: Sessions) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "state"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        mine = sessions.open()
        assert sessions.holder("work", "a") == name
        assert not sessions.claim(mine, "work", "a")
        holder.kill()
    assert sessions.holder("work", "a") is None
    assert sessions.live_claims() == {}
    assert sessions.claim(mine, "work", "a")
    mine.close()


def test_claim_lives_as_long_as_a_child_of_the_killed_process(tmp_path: Path, sessions: Sessions) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "state", "child"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        child = int(holder.stdout.readline())
        holder.kill()
    mine = sessions.open()
    try:
        assert not sessions.claim(mine, "work", "a")
    finally:
        os.kill(child, signal.SIGKILL)
    until(lambda: sessions.claim(mine, "work", "a"))
    mine.close()


def test_session_on_another_host_counts_as_alive_until_its_heart_stops(tmp_path: Path, sessions: Sessions) -> None:
    other = sessions.open()
    sessions.claim(other, "work", "a")
    other.close()
    folder = tmp_path / "state" / "sessions"
    elsewhere = folder / "20260101T000000Z-1-abcdef-another-host"
    elsewhere.touch()
    os.unlink(tmp_path / "state" / "claims" / "work" / "a")
    os.symlink(elsewhere.name, tmp_path / "state" / "claims" / "work" / "a")
    mine = sessions.open()
    assert not sessions.claim(mine, "work", "a")
    long_ago = time.time() - LOST_AFTER_S - 1
    os.utime(elsewhere, (long_ago, long_ago))
    assert sessions.claim(mine, "work", "a")
    mine.close()


def test_sweep_removes_what_is_stale_and_nothing_else(tmp_path: Path, sessions: Sessions) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path / "state"], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        holder.kill()
    mine = sessions.open()
    sessions.claim(mine, "work", "b")
    sessions.sweep()
    assert os.listdir(tmp_path / "state" / "claims" / "work") == ["b"]
    left = os.listdir(tmp_path / "state" / "sessions")
    assert {name.removesuffix(".claim") for name in left} == {mine.id}
    mine.close()
    assert os.listdir(tmp_path / "state" / "sessions") == []


def test_a_session_has_as_many_claims_as_it_wants(sessions: Sessions) -> None:
    # A file of ext4 has 65,000 names at most.
    session, other = sessions.open(), sessions.open()
    count = 66_000
    assert all(sessions.claim(session, "work", str(number)) for number in range(count))
    assert not sessions.claim(other, "work", str(count - 1))
    assert set(sessions.live_claims().values()) == {session.id}
    assert len(sessions.live_claims()) == count
    session.close()
    other.close()
