"""Never twice, never lost: random interleavings of submits, kills, faults and cluster jobs that come and go.

A thousand histories over the fake Slurm, in this process. After every step each task is in one live cluster job at
most, judged by the scripts that the fake has, not by our own records. When the trouble is over, a few more submits
finish everything.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fake_schedulers.slurm
import jinja2
import pytest
import signac
from fake_schedulers.queue import LIVE, FakeScheduler, opened
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from patience import until

from pointillist import FlowProject
from pointillist.cluster.environments import ComputeEnvironment
from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.slurm import Slurm
from pointillist.errors import PointillistError
from pointillist.execution.submitting import asking, following, submission
from pointillist.state.submissions import LedgerWriter

JOBS = 3

SEED = int(os.environ.get("POINTILLIST_SEED", "220508"))
"""The thousand histories follow from it; another one has others."""


class Killed(BaseException):
    """Stands for kill -9: nothing of the submit runs any more."""


class Study(FlowProject):
    """Two parts of each job."""


@Study.post.isfile("a")
@Study.operation
def first(job: Any) -> None:
    Path(job.fn("a")).touch()


@Study.pre.after(first)
@Study.post.isfile("b")
@Study.operation
def second(job: Any) -> None:
    Path(job.fn("b")).touch()


class World:
    """A project, a fake Slurm, and what may happen to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        project = signac.init_project(folder / "study")
        for number in range(JOBS):
            project.open_job({"x": number}).init()
        self.fake = FakeScheduler(folder / "slurm", fake_schedulers.slurm)
        self.deaths: list[str] = []
        world = self

        class Pretended(ComputeEnvironment):
            scheduler_type = "slurm"
            template = "slurm.sh"
            hostname_pattern = "only named"

            @classmethod
            def script_scheduler(cls) -> Scheduler:
                return Slurm(run=world.run_command)

            @classmethod
            def get_scheduler(cls) -> Scheduler:
                return cls.script_scheduler()

        self.environment = Pretended

    def run_command(self, command: Any, **options: Any) -> Any:
        if command[0] == "sbatch" and "before" in self.deaths:
            raise Killed
        answer = self.fake.runner(command, **options)
        if command[0] == "sbatch" and "after" in self.deaths:
            raise Killed
        return answer

    def project(self) -> Study:
        entrypoint = {"executable": "python", "path": "project.py"}
        return Study(self.folder / "study", environment=self.environment, entrypoint=entrypoint)

    def submit(self, *, deaths: tuple[str, ...] = (), **options: Any) -> None:
        self.deaths = list(deaths)
        accept = LedgerWriter.accept
        if "unrecorded" in deaths:
            LedgerWriter.accept = _die  # type: ignore[method-assign, assignment]
        try:
            with contextlib.suppress(PointillistError, Killed):
                self.project().submit(**options)
        finally:
            self.deaths = []
            LedgerWriter.accept = accept  # type: ignore[method-assign]

    def submit_twice_at_once(self, options: dict[str, Any], others: dict[str, Any]) -> None:
        projects = [self.project(), self.project()]
        both = [
            threading.Thread(target=_submit, args=(project, given))
            for project, given in zip(projects, (options, others), strict=True)
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()

    def tasks_of(self, job: dict[str, Any]) -> list[tuple[str, str]]:
        """Read off a cluster job's script which tasks it works on."""
        operations = re.findall(r"run -o (\w+) .*?-j (.+?) \|\|", job["script"])
        elements = re.findall(r"^    '?([0-9a-f ]+)'?$", job["script"], re.MULTILINE)
        if elements:
            return [(operations[0][0], one) for one in elements[job["index"]].split()]
        return [(name, one) for name, ids in operations for one in ids.split()]

    def live(self) -> Counter[tuple[str, str]]:
        return Counter(task for job in self.fake.jobs().values() if job["state"] in LIVE for task in self.tasks_of(job))

    def start(self) -> None:
        self.fake.start()

    def end(self, which: int, state: str) -> None:
        """End a running cluster job; one that ends well has done its work."""
        running = [job for job in self.fake.jobs().values() if job["state"] == "RUNNING"]
        if not running:
            return
        job = running[which % len(running)]
        if state == "COMPLETED":
            for name, one in self.tasks_of(job):
                folder = self.folder / "study" / "workspace" / one
                if name == "first" or (folder / "a").exists():
                    (folder / ("a" if name == "first" else "b")).touch()
        self.fake.end(job["id"], exit_code=int(state == "FAILED"), state=state)

    def run_here(self) -> None:
        with contextlib.suppress(PointillistError):
            self.project().run(num=1)

    def look(self) -> None:
        plan = self.project().plan()
        live = self.live()
        for task in plan.tasks():
            if live[task.key] and not plan.is_complete(task):
                assert plan.state(task).value in ("queued", "running"), (task, plan.state(task))

    def is_done(self) -> bool:
        return len(list((self.folder / "study" / "workspace").glob("*/b"))) == JOBS


def _submit(project: Study, options: dict[str, Any]) -> None:
    with contextlib.suppress(PointillistError):
        project.submit(**options)


def _die(*_: Any) -> None:
    raise Killed


submits = st.fixed_dictionaries(
    {
        "bundle_size": st.sampled_from([1, 1, 2, 0]),
        "retry_failed": st.booleans(),
        "everything": st.booleans(),
        "arrays": st.booleans(),
    }
)
steps = st.one_of(
    st.tuples(st.just("submit"), submits, st.just(())),
    st.tuples(st.just("submit"), submits, st.just(())),
    st.tuples(st.just("submit"), submits, st.sampled_from([("before",), ("after",), ("unrecorded",)])),
    st.tuples(st.just("two submits"), submits, submits),
    st.tuples(st.just("start")),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["COMPLETED", "COMPLETED", "FAILED", "TIMEOUT"])),
    st.tuples(st.just("end"), st.integers(0, 9), st.sampled_from(["NODE_FAIL", "CANCELLED", "OUT_OF_MEMORY"])),
    st.tuples(st.just("look")),
    st.tuples(st.just("run")),
    st.tuples(
        st.just("fault"),
        st.sampled_from(["down", "half", "few", "nothing", "hang", "mute_submit", "forget"]),
        st.booleans(),
    ),
    st.tuples(st.just("fault"), st.just("fail_every"), st.sampled_from([0, 2, 3])),
    st.tuples(st.just("fault"), st.just("unknown_state"), st.sampled_from(["", "DREAMING"])),
    st.tuples(st.just("fault"), st.just("delay_s"), st.sampled_from([0.0, 0.002])),
    st.tuples(st.just("fault"), st.just("crowd"), st.sampled_from([0, 0, 0, 20_000])),
)
CALM = {"down": False, "half": False, "few": False, "nothing": False, "hang": False, "mute_submit": False}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No waiting, and a folder in memory where there is one."""
    for module, name in (
        (following, "SETTLE_S"),
        (asking, "PAUSE_S"),
        (submission, "PAUSE_S"),
    ):
        monkeypatch.setattr(module, name, 0.0)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    # The templates are the same a thousand times; to compile them takes longer than all else in a submit.
    compiled: dict[tuple[object, ...], Any] = {}
    compile_one = jinja2.Environment.compile

    def compile_once(environment: jinja2.Environment, *source: Any, **options: Any) -> Any:
        if source not in compiled:
            compiled[source] = compile_one(environment, *source, **options)
        return compiled[source]

    monkeypatch.setattr(jinja2.Environment, "compile", compile_once)
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    yield folder
    shutil.rmtree(folder)


@seed(SEED)
@settings(
    max_examples=1000,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    print_blob=True,
    # To shrink a history takes longer than to read it; the printed blob repeats it.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(history=st.lists(steps, min_size=4, max_size=14))
def test_no_task_is_twice_in_the_queue_and_none_is_forgotten(
    quick: Path, capfd: pytest.CaptureFixture[str], history: list[tuple[Any, ...]]
) -> None:
    shutil.rmtree(quick, ignore_errors=True)
    world = World(quick)
    for step in history:
        match step:
            case ("submit", options, deaths):
                world.submit(deaths=deaths, **options)
            case ("two submits", options, others):
                world.submit_twice_at_once(options, others)
            case ("start",):
                world.start()
            case ("end", which, state):
                world.end(which, state)
            case ("look",):
                world.look()
            case ("run",):
                world.run_here()
            case ("fault", name, value):
                world.fake.set(**{name: value})
        twice = {task: count for task, count in world.live().items() if count > 1}
        assert not twice, (step, twice)
    world.fake.set(**CALM, fail_every=0, unknown_state="", delay_s=0.0, crowd=0)
    for _ in range(6):
        world.submit(retry_failed=True, everything=True)
        assert max(world.live().values(), default=0) <= 1
        while world.live():
            world.start()
            world.end(0, "COMPLETED")
        if world.is_done():
            break
    assert world.is_done()
    assert not world.live()
    submissions = world.project().ledger().submissions()
    with opened(world.fake.path, changes=False) as queue:
        remembered, forgotten = list(queue.jobs.values()), list(queue.state["ended"].values())
    # Of one that ended and was forgotten before anybody looked, the name is all that there can be.
    assert {job["base"] for job in remembered} <= {one.id for one in submissions}
    assert {job["name"] for job in remembered + forgotten} <= {one.name for one in submissions}
    capfd.readouterr()


def test_two_submits_at_once_share_nothing(fake_slurm: FakeScheduler, make_study: Any) -> None:
    body = """
@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    return f"touch workspace/{job.id}/a"
"""
    study = make_study(body, *({"x": x} for x in range(20)))
    started = [study.start("submit", "--bundle", "3", "--no-array") for _ in range(4)]
    outputs = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * 4, outputs
    ids = Counter(one for job in fake_slurm.jobs().values() for one in re.findall(r"-j ([0-9a-f]{32})", job["script"]))
    assert len(ids) == 20
    assert set(ids.values()) == {1}


def test_killed_submit_is_found_again_by_name(
    fake_slurm: FakeScheduler, make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    return f"touch workspace/{job.id}/a"
"""
    study = make_study(body, {"x": 1}, {"x": 2})
    fake_slurm.set(delay_s=2.0)
    process = study.start("submit")
    until(lambda: bool(fake_slurm.jobs()))
    process.kill()
    process.communicate()
    fake_slurm.set(delay_s=0.0)
    (record,) = (study.path / ".pointillist" / "submissions").iterdir()
    assert record.read_text().count('"event"') == record.read_text().count('"event":"intent"') == 1
    again = study.cli("submit")
    assert again.stdout == ""
    assert "2 tasks are on the cluster already" in again.stderr
    # As long as the killed one's sbatch goes on, it is being submitted.
    until(lambda: "cluster job 100_0" in study.cli("explain", "-a").stdout)
    assert len(fake_slurm.jobs()) == 2


def test_submission_that_outlives_its_killed_submit_is_waited_for(
    fake_slurm: FakeScheduler, make_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
from pointillist.execution.submitting import following
following.SETTLE_S = 0.0  # the time in which a submission may yet turn up is over at once

@Project.post.isfile("a")
@Project.operation(cmd=True)
def first(job):
    return f"touch workspace/{job.id}/a"
"""
    study = make_study(body, {"x": 1})
    slow, begun, go_on = tmp_path / "slow", tmp_path / "begun", tmp_path / "go on"
    slow.mkdir()
    # An sbatch that is not through to its scheduler yet.
    (slow / "sbatch").write_text(
        f"#!/bin/sh\ntouch '{begun}'\nuntil test -e '{go_on}'; do sleep 0.02; done\n"
        f"""exec '{fake_slurm.bin}/sbatch' "$@" 2> /dev/null\n"""
    )
    (slow / "sbatch").chmod(0o755)
    with monkeypatch.context() as changed:
        changed.setenv("PATH", str(slow), prepend=os.pathsep)
        process = study.start("submit")
        until(begun.exists)
    process.kill()
    process.wait()
    try:
        again = study.cli("submit")
        assert not fake_slurm.jobs()
        assert again.stdout == ""
    finally:
        go_on.touch()
        until(lambda: len(fake_slurm.jobs()) == 1)
    process.communicate()
    study.cli("submit")
    assert len(fake_slurm.jobs()) == 1
    assert "cluster job 100" in study.cli("explain", "-a").stdout
