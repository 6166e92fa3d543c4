"""What only the local queue promises: limits of time, cores, and watchers that die."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from patience import until

from pointillist.cluster.errors import SubmissionRejected
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.local import Local
from pointillist.cluster.schedulers.requests import Request


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Local]:
    local = Local(str(tmp_path / "queue"))
    yield local
    local.cancel([one for one, job in local.query().items() if not job.state.is_final])


def submit(queue: Local, tmp_path: Path, body: str, request: Request) -> str:
    path = tmp_path / "job.sh"
    path.write_text("\n".join(["#!/bin/sh", *queue.header_lines(request), body, ""]))
    return queue.submit(str(path), request, cwd=str(tmp_path))


def wait(queue: Local, one: str, *states: State) -> ClusterJob:
    end = time.monotonic() + 30
    while (job := queue.query([one])[one]).state not in states:
        assert time.monotonic() < end, job
        time.sleep(0.02)
    return job


def test_job_is_stopped_at_its_time_limit_after_a_warning(queue: Local, tmp_path: Path) -> None:
    body = "trap 'touch warned' USR1\nwhile :; do sleep 0.05; done"
    one = submit(queue, tmp_path, body, Request(name="late", walltime_s=1, signal_before_s=1))
    assert wait(queue, one, State.TIMED_OUT).reason_words == "It ran into its time limit."
    assert (tmp_path / "warned").exists()


def test_later_changes_to_the_script_do_not_matter(queue: Local, tmp_path: Path) -> None:
    one = submit(queue, tmp_path, "touch first", Request(name="a", hold=True))
    (tmp_path / "job.sh").write_text("touch second\n")
    queue.release([one])
    wait(queue, one, State.COMPLETED)
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()


def test_job_whose_watcher_was_killed_is_lost_and_not_running(queue: Local, tmp_path: Path) -> None:
    one = submit(queue, tmp_path, "echo $PPID > watcher; echo $$ > own; exec sleep 60", Request(name="a"))
    wait(queue, one, State.RUNNING)
    while not (tmp_path / "own").exists() or not (tmp_path / "own").read_text():
        time.sleep(0.02)
    os.kill(int((tmp_path / "watcher").read_text()), signal.SIGKILL)
    try:
        assert wait(queue, one, State.NODE_FAILED).reason == "Lost"
    finally:
        os.kill(int((tmp_path / "own").read_text()), signal.SIGKILL)


def test_cores_are_shared_between_jobs(queue: Local, tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    first = submit(queue, tmp_path, "while [ ! -e go ]; do sleep 0.02; done", Request(name="a", processes=cores))
    wait(queue, first, State.RUNNING)
    second = submit(queue, tmp_path, "true", Request(name="b"))
    until(lambda: queue.query([second])[second].reason == "Cores")
    (tmp_path / "go").touch()
    wait(queue, second, State.COMPLETED)


def test_more_cores_than_there_are_is_refused(queue: Local, tmp_path: Path) -> None:
    with pytest.raises(SubmissionRejected, match="cores"):
        submit(queue, tmp_path, "true", Request(name="a", processes=10_000))
