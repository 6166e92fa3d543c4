"""What the engine relies on, claimed of every scheduler: real and fake Slurm, PBS, LSF and the local queue.

A new scheduler is one more row in `HARNESSES`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from patience import until

from pointillist.cluster.errors import RequestError, SchedulerUnavailable, SubmissionRejected
from pointillist.cluster.schedulers import scheduler_class
from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.jobs import ClusterJob, State
from pointillist.cluster.schedulers.local import Local
from pointillist.cluster.schedulers.requests import After, Array, Dependency, Request, element_id

_PATIENCE_S = 60.0
_numbers = itertools.count()


class Harness:
    """One scheduler under test: how it is spoken to, moved on and broken."""

    def __init__(self, scheduler: Scheduler, folder: Path) -> None:
        self.scheduler, self.folder = scheduler, folder
        self.advance: Callable[[], object] = lambda: time.sleep(0.05)
        self.kill: Callable[[], object] = lambda: None
        self.impossible = Request(name="impossible", partition="nowhere")

    def submit(self, body: str, request: Request, *, folder: Path | None = None, file: str = "job.sh") -> str:
        """Write a script with the request's header, as the engine does, and submit it."""
        path = (folder or self.folder) / f"{next(_numbers)}{file}"
        lines = ["#!/bin/bash", *self.scheduler.header_lines(request), body]
        path.write_text("\n".join(lines) + "\n")
        return self.scheduler.submit(str(path), request, cwd=str(folder or self.folder))

    def see(self, cluster_id: str) -> ClusterJob:
        return self.scheduler.query([cluster_id])[cluster_id]

    def wait(self, cluster_id: str, is_there: Callable[[ClusterJob], bool]) -> ClusterJob:
        """Move on until the job is as wanted."""
        end = time.monotonic() + _PATIENCE_S
        while not is_there(job := self.see(cluster_id)):
            assert time.monotonic() < end, f"still {job}"
            self.advance()
        return job

    def finish(self, cluster_id: str) -> ClusterJob:
        return self.wait(cluster_id, lambda job: job.state.is_final)


def _real_slurm(request: pytest.FixtureRequest, folder: Path) -> Harness:
    service = request.getfixturevalue("real_slurm")
    harness = Harness(scheduler_class("slurm")(), folder)

    def kill() -> None:
        service.stop_controller()
        request.addfinalizer(service.start_controller)

    harness.kill = kill
    return harness


def _fake(name: str) -> Callable[[pytest.FixtureRequest, Path], Harness]:
    def make(request: pytest.FixtureRequest, folder: Path) -> Harness:
        from faking import put_on_path

        fake = put_on_path(name, folder, request.getfixturevalue("monkeypatch"))
        harness = Harness(scheduler_class(name)(), folder)
        harness.advance = fake.advance
        harness.kill = lambda: fake.set(down=True)
        return harness

    return make


def _local(request: pytest.FixtureRequest, folder: Path) -> Harness:
    local = Local(str(folder / "que ue"))
    harness = Harness(local, folder)
    harness.impossible = Request(name="impossible", processes=10_000)

    def stop() -> None:
        harness.scheduler = local
        live = [one for one, job in local.query().items() if not job.state.is_final]
        local.cancel(live)
        for one in live:
            harness.finish(one)

    def kill() -> None:
        harness.scheduler = Local(str(folder / "a file" / "below a file"))
        (folder / "a file").write_text("")

    harness.kill = kill
    request.addfinalizer(stop)
    return harness


HARNESSES = {
    "slurm": _real_slurm,
    "fake slurm": _fake("slurm"),
    "fake pbs": _fake("pbs"),
    "fake lsf": _fake("lsf"),
    "local": _local,
}


@pytest.fixture(params=HARNESSES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Harness:
    folder = tmp_path / "study"
    folder.mkdir()
    return HARNESSES[request.param](request, folder)


def test_submitted_job_is_found_by_the_id_that_was_returned(harness: Harness) -> None:
    one = harness.submit("true", Request(name="found", hold=True))
    assert harness.see(one).id == one
    assert one in harness.scheduler.query()


def test_job_runs_and_ends_with_its_exit_code(harness: Harness) -> None:
    good = harness.submit("echo done > good.txt", Request(name="good"))
    bad = harness.submit("exit 3", Request(name="bad"))
    assert harness.finish(good).state is State.COMPLETED
    assert (harness.folder / "good.txt").read_text() == "done\n"
    ended = harness.finish(bad)
    assert ended.state is State.FAILED
    assert ended.exit_code == 3


def test_held_job_waits_until_released(harness: Harness) -> None:
    one = harness.submit("true", Request(name="held", hold=True))
    harness.advance()
    job = harness.see(one)
    assert job.state is State.HELD
    assert job.reason_words
    harness.scheduler.release([one])
    assert harness.finish(one).state is State.COMPLETED


def test_cancelled_job_is_cancelled_and_cancelling_again_is_no_error(harness: Harness) -> None:
    one = harness.submit("true", Request(name="unwanted", hold=True))
    harness.scheduler.cancel([one])
    assert harness.wait(one, lambda job: job.state.is_final).state is State.CANCELLED
    harness.scheduler.cancel([one])


def test_job_waits_for_the_one_before_it(harness: Harness) -> None:
    first = harness.submit("echo first > order.txt", Request(name="first", hold=True))
    second = harness.submit("echo second >> order.txt", Request(name="second", after=(Dependency(After.OK, first),)))
    harness.advance()
    waiting = harness.wait(second, lambda job: bool(job.reason_words))
    assert waiting.state is State.QUEUED
    harness.scheduler.release([first])
    assert harness.finish(second).state is State.COMPLETED
    assert (harness.folder / "order.txt").read_text() == "first\nsecond\n"


def test_job_after_a_failed_one_is_cancelled(harness: Harness) -> None:
    first = harness.submit("exit 1", Request(name="first"))
    second = harness.submit("touch ran", Request(name="second", after=(Dependency(After.OK, first),)))
    harness.finish(first)
    assert harness.finish(second).state is State.CANCELLED
    assert not (harness.folder / "ran").exists()


def test_job_after_a_failure_runs_when_it_wants_the_failure(harness: Harness) -> None:
    first = harness.submit("exit 1", Request(name="first", hold=True))
    wants = harness.submit("true", Request(name="wants", after=(Dependency(After.NOT_OK, first),)))
    either = harness.submit("true", Request(name="either", after=(Dependency(After.ANY, first),)))
    harness.scheduler.release([first])
    assert harness.finish(wants).state is State.COMPLETED
    assert harness.finish(either).state is State.COMPLETED


def test_array_elements_have_states_and_indices_of_their_own(harness: Harness) -> None:
    body = f'index={harness.scheduler.array_index}\ntouch "ran $index"\nexit "$((index == 1 ? 4 : 0))"'
    one = harness.submit(body, Request(name="array", array=Array(3), hold=True))
    held = harness.scheduler.query([one])
    assert set(held) == {element_id(one, index) for index in range(3)}
    assert {job.state for job in held.values()} == {State.HELD}
    harness.scheduler.release([one])
    ended = [harness.finish(element_id(one, index)) for index in range(3)]
    assert [job.state for job in ended] == [State.COMPLETED, State.FAILED, State.COMPLETED]
    assert ended[1].exit_code == 4
    assert sorted(path.name for path in harness.folder.glob("ran *")) == ["ran 0", "ran 1", "ran 2"]


def test_one_element_of_an_array_can_be_cancelled(harness: Harness) -> None:
    one = harness.submit("true", Request(name="array", array=Array(3, limit=1), hold=True))
    harness.scheduler.cancel([element_id(one, 1)])

    def is_gone() -> bool:
        # Slurm drops an element that never started without a trace; the others keep it as cancelled.
        found = harness.scheduler.query([one]).get(element_id(one, 1))
        return found is None or found.state is State.CANCELLED

    until(is_gone)
    left = harness.scheduler.query([one])
    assert {left[element_id(one, 0)].state, left[element_id(one, 2)].state} == {State.HELD}


def test_elements_wait_for_their_own_predecessors(harness: Harness) -> None:
    first = harness.submit(
        f"index={harness.scheduler.array_index}\nexit $((index == 1))", Request(name="a", array=Array(3))
    )
    after = (Dependency(After.ELEMENTWISE, first),)
    try:
        second = harness.submit("true", Request(name="b", array=Array(3), after=after))
    except RequestError:
        # PBS has no such dependency, and says so before anything is submitted.
        assert harness.scheduler.name == "pbs"
        return
    states = [harness.finish(element_id(second, index)).state for index in range(3)]
    assert states == [State.COMPLETED, State.CANCELLED, State.COMPLETED]


def test_refused_request_says_why_in_the_schedulers_words(harness: Harness) -> None:
    with pytest.raises(SubmissionRejected) as caught:
        harness.submit("true", harness.impossible)
    assert caught.value.words
    assert caught.value.words in str(caught.value)
    assert caught.value.hint


def test_long_name_with_slashes_comes_back(harness: Harness) -> None:
    name = "FlowProject/" + "0123456789abcdef" * 2 + "/part_3_train/" + "f" * 32
    one = harness.submit("true", Request(name=name, hold=True))
    if harness.scheduler.name == "pbs":
        name = name.replace("/", "-")
    assert harness.see(one).name == name


@pytest.mark.parametrize(
    "awkward", ["with space", "it's", 'a "quote"', "$(touch pwned)", "new\nline", "-dash", "ümlaut"]
)
def test_scripts_in_hostile_folders_run(harness: Harness, awkward: str) -> None:
    folder = harness.folder / awkward
    folder.mkdir()
    one = harness.submit("touch ran", Request(name="hostile"), folder=folder, file=f" {awkward}.sh")
    assert harness.finish(one).state is State.COMPLETED
    assert (folder / "ran").exists()
    assert not list(harness.folder.rglob("pwned"))


SAID_TO_BE_IMPOSSIBLE = {
    "slurm": ["new\nline"],
    "pbs": ["new\nline"],
    "lsf": ["new\nline", 'a "quote"', "100%"],
    "local": ["new\nline"],
}


@pytest.mark.parametrize("awkward", ["with space", "it's", 'a "quote"', "$(touch pwned)", "100%", "new\nline"])
def test_output_in_hostile_folders_is_written_there_or_refused(harness: Harness, awkward: str) -> None:
    folder = harness.folder / awkward
    folder.mkdir()
    try:
        output = harness.scheduler.output_pattern(str(folder / "log"), array=False)
        one = harness.submit("echo hello", Request(name="hostile", output=output))
    except RequestError:
        assert awkward in SAID_TO_BE_IMPOSSIBLE[harness.scheduler.name]
        return
    harness.finish(one)
    until(lambda: [path.read_text() for path in folder.glob("log*.out")] == ["hello\n"])
    assert not list(harness.folder.rglob("pwned"))


def test_question_about_a_forgotten_job_is_answered_for_the_others(harness: Harness) -> None:
    one = harness.submit("true", Request(name="here", hold=True))
    gone = "99999." + one.partition(".")[2] if "." in one else "99999"
    assert harness.scheduler.query([gone]) == {}
    assert set(harness.scheduler.query([one, gone])) == {one}
    assert set(harness.scheduler.history([one, gone])) == {one}


def test_dead_scheduler_is_unavailable_and_never_an_empty_queue(harness: Harness) -> None:
    one = harness.submit("true", Request(name="here", hold=True))
    harness.kill()
    with pytest.raises(SchedulerUnavailable):
        harness.scheduler.query([one])
    with pytest.raises(SchedulerUnavailable):
        harness.scheduler.query()
    with pytest.raises(SchedulerUnavailable):
        harness.submit("true", Request(name="another"))
