"""What is remembered between commands never changes an answer: cached and uncached plans are equal, whatever happens.

The oracle is a plan that remembers nothing. The file system's tick is taken to be short, so that the cache is in use
within the short life of a test; where a test needs it, it waits for that tick.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest
import signac
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from pointillist import FlowProject, aggregator, has_keys, isfile, not_, true
from pointillist.state import cache, slices, workspace
from pointillist.state.plan import Plan
from pointillist.state.workspace import Workspace

TICK_NS = 11_000_000
"""A little longer than the slowest tick of Linux on a disk of its own."""


class First(FlowProject):
    pass


@First.label
def wears_file(job):
    return job.isfile("a")


First.label("in sub")(isfile("sub/x"))
First.label("keys in sub")(has_keys("sub/r.json", ["p"]))


@First.post.isfile("a")
@First.post.true("k")
@First.operation
def one(job):
    pass


@First.pre.after(one)
@First.post(not_(isfile("b")))
@First.post(has_keys("r.json", ["p"]))
@First.operation
def two(job):
    pass


@First.pre.after(two)
@First.pre(not_(has_keys("sub/r.json", ["p"])))
@First.post(has_keys("r.json", ["p"]))
@First.post(not_(isfile("b")))
@First.operation(aggregator=aggregator.groupby("x", default=0))
def declared(*jobs):
    pass


@First.pre(lambda *jobs: all(job.isfile("a") for job in jobs))
@First.pre.false("k")
@First.post.isfile("sub/x")
@First.operation(aggregator=aggregator.groupby("x", default=0))
def three(*jobs):
    pass


class Second(FlowProject):
    """Asks other questions of the same sources, and shares the cache."""


@Second.post.isfile("b")
@Second.post(true("m"))
@Second.operation
def other(job):
    pass


class Documents(FlowProject):
    """Asks nothing of folders, only of JSON files, and shares the cache."""


@Documents.post.true("k")
@Documents.post(has_keys("r.json", ["p"]))
@Documents.operation
def document(job):
    pass


def answers(project: FlowProject, cache_folder: str | None) -> dict[str, Any]:
    reader = Workspace(project.workspace, project._open_job, cache_folder, remember_from=1)
    plan = Plan(project.definition, reader, project.journal(), project.sessions())

    def count_all() -> dict[str, dict[Any, int]]:
        return {name: plan.count_states(operation) for name, operation in plan.definition.operations.items()}

    # What remembers nothing works out no states in sweeps either, so that it can tell what these should be.
    counted = count_all() if cache_folder is not None else {}
    states = {task.key: plan.state(task) for task in plan.tasks()}
    counted = counted or count_all()
    for name, counts in counted.items():
        assert {s: n for s, n in counts.items() if n} == count(state for key, state in states.items() if key[0] == name)
    worn = {}
    for label in plan.definition.labels:
        for job_id in reader.job_ids:
            with contextlib.suppress(Exception):
                worn[name, job_id] = label.of(plan.facts, job_id)
    return {
        "states": states,
        "order": list(states),
        "jobs": reader.job_ids,
        "statepoints": {i: reader.statepoint(i) for i in reader.job_ids},
        "broken": {i: str(error) for i, error in reader.broken.items()},
        "errors": {key: str(error) for key, error in plan.errors.items()},
        "labels": worn,
    }


def count(states: Any) -> dict[Any, int]:
    counts: dict[Any, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return counts


NUMBERS = st.integers(0, 4)
NAMES = st.sampled_from(
    ["a", "b", "sub/x", "sub/r.json", "r.json", "signac_job_document.json", "signac_statepoint.json"]
)
CONTENTS = st.sampled_from([b'{"k": 1}', b'{"k": 0}', b'{"m": 1}', b'{"p": 1}', b'["k", 1]', b'{"k": 12'])


class Remembering(RuleBasedStateMachine):
    """Random changes of a workspace; after each of them two plans are compared."""

    folder: Path

    @initialize(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self.signac = signac.init_project(self.folder)
        self.cache = str(self.folder / ".pointillist" / "cache")
        self.steps = 0
        for x in range(count):
            self.add(x)
            self.write(x, "signac_job_document.json", b'{"k": 1}')
            self.write(x, "a", b"")

    def jobs(self) -> list[Path]:
        return sorted(p for p in (self.folder / "workspace").iterdir() if p.is_dir())

    def file(self, number: int, name: str) -> Path | None:
        jobs = self.jobs()
        return jobs[number % len(jobs)] / name if jobs else None

    @rule(x=NUMBERS)
    def add(self, x: int) -> None:
        with contextlib.suppress(Exception):  # a damaged job of this id is there
            self.signac.open_job({"x": x % 3, "y": x}).init()

    @rule(number=NUMBERS)
    def remove_job(self, number: int) -> None:
        if (path := self.file(number, "")) is not None:
            shutil.rmtree(path)

    @rule(number=NUMBERS, y=st.integers(0, 9))
    def migrate(self, number: int, y: int) -> None:
        if (path := self.file(number, "")) is not None:
            with contextlib.suppress(Exception):
                signac.get_project(self.folder).open_job(id=path.name).sp.y = y

    @rule(number=NUMBERS, name=NAMES, content=CONTENTS)
    def write(self, number: int, name: str, content: bytes) -> None:
        """Write a file, in place when it is there; the contents are of one size, mostly."""
        if (path := self.file(number, name)) is not None:
            with contextlib.suppress(OSError):
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)

    @rule(number=NUMBERS, which=NUMBERS, content=CONTENTS)
    def write_and_hide_it(self, number: int, which: int, content: bytes) -> None:
        """Write in place and set the times back to what they were."""
        files = sorted(p for p in (self.folder / "workspace").rglob("*.json") if p.is_file())
        if files:
            path = files[(number * 5 + which) % len(files)]
            stat = path.stat()
            path.write_bytes(content)
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    @rule(number=NUMBERS, name=NAMES)
    def remove(self, number: int, name: str) -> None:
        if (path := self.file(number, name)) is not None:
            with contextlib.suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    @rule(number=NUMBERS, name=NAMES, seconds=st.sampled_from([-3600, -1, 0, 3600]), of_folder=st.booleans())
    def touch(self, number: int, name: str, seconds: int, of_folder: bool) -> None:
        path = self.file(number, "" if of_folder else name)
        if path is not None and path.exists():
            os.utime(path, (time.time() + seconds,) * 2)

    @rule(number=NUMBERS, name=st.sampled_from(["a", "b", "r.json"]))
    def make_folder(self, number: int, name: str) -> None:
        if (path := self.file(number, name)) is not None:
            with contextlib.suppress(OSError):
                path.mkdir()

    @rule(number=NUMBERS, name=st.sampled_from(["a", "b", "r.json", "signac_job_document.json"]))
    def make_link(self, number: int, name: str) -> None:
        if (path := self.file(number, name)) is not None:
            with contextlib.suppress(OSError):
                path.symlink_to(self.folder / "target")

    @rule(content=CONTENTS)
    def change_target(self, content: bytes) -> None:
        target = self.folder / "target"
        target.unlink() if target.exists() else target.write_bytes(content)

    @rule(number=NUMBERS, key=st.sampled_from(["k", "m"]), value=st.booleans())
    def change_document(self, number: int, key: str, value: bool) -> None:
        if (path := self.file(number, "")) is not None:
            with contextlib.suppress(Exception):
                signac.get_project(self.folder).open_job(id=path.name).document[key] = value

    @rule(number=NUMBERS)
    def mend_statepoint(self, number: int) -> None:
        for x in range(5):
            job = self.signac.open_job({"x": x % 3, "y": x})
            if (self.folder / "workspace" / job.id).is_dir():
                Path(job.path, "signac_statepoint.json").write_text(json.dumps({"x": x % 3, "y": x}))

    @rule(
        kind=st.sampled_from(["cut", "garbage", "flip", "version", "gone", "empty"]),
        name=st.sampled_from(["facts", "statepoints", "groups"]),
    )
    def damage_cache(self, kind: str, name: str) -> None:
        path = Path(self.cache, name)
        if not path.exists():
            return
        content = path.read_bytes()
        if kind == "gone":
            path.unlink()
        else:
            path.write_bytes(
                {
                    "cut": content[: len(content) * 2 // 3],
                    "garbage": os.urandom(len(content)),
                    "flip": content[:-9] + bytes(byte ^ 1 for byte in content[-9:-8]) + content[-8:],
                    "version": content.replace(f"pointillist {cache.VERSION}".encode(), b"pointillist 1"),
                    "empty": b"",
                }[kind]
            )

    @rule(seconds=st.sampled_from([-5, 5]))
    def set_clock(self, seconds: int) -> None:
        """Shift the clock, as far as the engine can see it."""
        SHIFT[0] += seconds * 10**9

    @rule(kind=st.sampled_from([Second, Documents]))
    def ask_other_questions(self, kind: type[FlowProject]) -> None:
        project = kind(self.folder)
        assert answers(project, self.cache) == answers(project, None)

    @invariant()
    def cached_and_uncached_answers_are_equal(self) -> None:
        if not hasattr(self, "signac"):
            return
        self.steps += 1
        if self.steps % 3:
            # Let the last change grow old enough to be remembered; every third time it is not.
            time.sleep(TICK_NS / 1e9 + 0.001)
        project = First(self.folder)
        assert answers(project, self.cache) == answers(project, None)


SHIFT = [0]


@pytest.fixture
def short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    real = cache.present_ns
    SHIFT[0] = 0
    # A clock that runs ahead would make recent changes look old, which no clock of a file system can do.
    monkeypatch.setattr(cache, "present_ns", lambda folder: (now := real(folder)) and now + min(SHIFT[0], 0))
    monkeypatch.setattr(workspace, "TICK_NS", TICK_NS)
    monkeypatch.setattr(workspace, "ONE_BY_ONE", 1)


def test_cached_and_uncached_answers_are_equal(tmp_path: Path, short_ticks: None) -> None:
    machine = type("Machine", (Remembering,), {"folder": tmp_path / "study"})
    from hypothesis.stateful import run_state_machine_as_test

    run_state_machine_as_test(machine, settings=settings(max_examples=50, stateful_step_count=25, deadline=None))


def rewritten(path: Path) -> None:
    """Rewrite a file in place, with as many bytes, and set its time back: only its ctime tells."""
    stat = path.stat()
    content = path.read_bytes()
    path.write_bytes(content.replace(b"true", b"0   ") if b"true" in content else content.replace(b"2", b"7"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda job: rewritten(job / "signac_job_document.json"),
        lambda job: rewritten(job / "signac_statepoint.json"),
        lambda job: (job / "signac_job_document.json").unlink(),
        lambda job: (job / "signac_statepoint.json").unlink(),
        lambda job: (job / "a").unlink(),
        lambda job: ((job / "a").unlink(), (job / "a").mkdir()),
        lambda job: ((job / "sub").mkdir(), (job / "sub" / "x").touch()),
        lambda job: (job / "b").symlink_to(job / "a"),
        lambda job: (job / "r.json").write_text('{"p": 1}'),
        lambda job: (job / "r.json").symlink_to(job / "signac_statepoint.json"),
        lambda job: job.rename(job.with_name("0" * 32)),
        lambda job: shutil.rmtree(job),
        lambda job: (job.parent.parent / "target").touch(),
        lambda job: os.replace(next(j for j in job.parent.iterdir() if j != job) / "a", job / "r.json"),
    ],
)
@pytest.mark.parametrize("undo", [False, True])
def test_a_change_is_seen_through_the_cache(study: First, short_ticks: None, change: Any, undo: bool) -> None:
    folder = Path(study.path, "cache")
    jobs = sorted(Path(study.workspace).iterdir())
    for job in jobs:
        (job / "b").symlink_to(Path(study.path, "target"))
    job = next(j for j in jobs if b'"x": 2' in (j / "signac_statepoint.json").read_bytes())
    (job / "b").unlink()
    (job / "signac_job_document.json").write_text('{"k": true}')
    if undo:
        shutil.copytree(study.workspace, study.path + "/copy", symlinks=True)
    time.sleep(2 * TICK_NS / 1e9)
    before = [answers(study, str(folder)), answers(Second(study.path), str(folder))]
    change(job)
    time.sleep(2 * TICK_NS / 1e9)
    after = [answers(study, str(folder)), answers(Second(study.path), str(folder))]
    assert after == [answers(study, None), answers(Second(study.path), None)]
    if undo:
        shutil.rmtree(study.workspace)
        os.rename(study.path + "/copy", study.workspace)
        (Path(study.path) / "target").unlink(missing_ok=True)
        assert [answers(study, str(folder)), answers(Second(study.path), str(folder))] == before


def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that will hold every path whose stamp is asked for."""
    seen: list[str] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: (seen.append(str(path)), real(path, **options))[1])
    return seen


def test_a_file_that_is_not_there_is_not_looked_for_again(
    study: First, tmp_path: Path, short_ticks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    time.sleep(2 * TICK_NS / 1e9)
    survey(study, tmp_path / "cache")
    seen = looked_at(monkeypatch)
    survey(study, tmp_path / "cache")
    assert not [path for path in seen if path.endswith("/r.json") and "/sub/" not in path]
    assert len([path for path in seen if path.endswith("/sub/r.json")]) == 6  # no stamp of ours tells of these
    job = Path(study.workspace, os.listdir(study.workspace)[0])
    (job / "new").touch()
    del seen[:]
    survey(study, tmp_path / "cache")
    assert [path for path in seen if path.endswith("/r.json") and "/sub/" not in path] == [str(job / "r.json")]


@pytest.mark.parametrize("in_between", [None, Second, Documents])
def test_a_link_that_led_nowhere_is_followed_once_it_leads_somewhere(
    study: First, tmp_path: Path, short_ticks: None, in_between: type[FlowProject] | None
) -> None:
    for job in Path(study.workspace).iterdir():
        (job / "r.json").symlink_to(tmp_path / "target")
    for _ in range(2):
        time.sleep(2 * TICK_NS / 1e9)
        assert answers(study, str(tmp_path / "cache")) == answers(study, None)
        if in_between is not None:
            answers(in_between(study.path), str(tmp_path / "cache"))
    (tmp_path / "target").write_text('{"p": 1}')
    assert answers(study, str(tmp_path / "cache")) == answers(study, None)


@pytest.fixture
def study(tmp_path: Path) -> First:
    project = signac.init_project(tmp_path)
    for x in range(6):
        job = project.open_job({"x": x % 3, "y": x}).init()
        job.document["k"] = x > 2
        Path(job.fn("a")).touch()
    return First(tmp_path)


def survey(project: FlowProject, folder: Path) -> Any:
    reader = Workspace(project.workspace, project._open_job, str(folder), remember_from=1)
    plan = Plan(project.definition, reader, project.journal(), project.sessions())
    list(plan.tasks())
    return reader.survey()


def test_nothing_is_read_again_when_nothing_has_changed(study: First, tmp_path: Path, short_ticks: None) -> None:
    time.sleep(2 * TICK_NS / 1e9)
    assert survey(study, tmp_path / "cache").changed == 30
    assert survey(study, tmp_path / "cache").changed == 0
    job = Path(study.workspace, os.listdir(study.workspace)[0])
    (job / "new").touch()
    assert survey(study, tmp_path / "cache").changed == 1


def test_what_changed_just_now_is_read_again(study: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "TICK_NS", 3600 * 10**9)
    assert survey(study, tmp_path / "cache").changed == 30
    # All but the files that are not there: nothing can be hidden in their place.
    assert survey(study, tmp_path / "cache").changed == 18


def test_a_cache_from_the_future_is_not_believed(study: First, tmp_path: Path, short_ticks: None) -> None:
    time.sleep(2 * TICK_NS / 1e9)
    survey(study, tmp_path / "cache")
    SHIFT[0] = -10 * TICK_NS
    assert survey(study, tmp_path / "cache").changed == 30


@pytest.mark.parametrize("where", ["a file", "not writable"])
def test_without_a_place_for_the_cache_the_answers_are_the_same(study: First, tmp_path: Path, where: str) -> None:
    folder = tmp_path / "cache"
    if where == "a file":
        folder.touch()
    else:
        (tmp_path / "cache" / "facts").mkdir(parents=True)
        (tmp_path / "cache" / "clock").mkdir()
    for _ in range(2):
        assert answers(study, str(folder)) == answers(study, None)


def test_variable_turns_remembering_off(study: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.OFF_VARIABLE, "1")
    survey(study, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_few_jobs_are_not_remembered(study: First, tmp_path: Path) -> None:
    list(study.plan().tasks())
    assert not (tmp_path / ".pointillist").exists()


def test_a_shared_out_survey_is_the_same(study: First, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = answers(study, None)
    monkeypatch.setattr(slices, "SMALLEST_SLICE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))
    assert answers(study, None) == alone
    assert answers(study, str(tmp_path / "cache")) == alone
    assert answers(study, str(tmp_path / "cache")) == alone


class Steps(FlowProject):
    """Conditions of every kind, on single jobs and on several."""


@Steps.post.isfile("a")
@Steps.operation
def step(job):
    pass


@Steps.pre.after(step)
@Steps.post(lambda *jobs: all(job.isfile("b") for job in jobs))
@Steps.operation(aggregator=aggregator.groupsof(2))
def pairs(*jobs):
    pass


@Steps.pre(not_(has_keys("r.json", ["p"])))
@Steps.post.copy_from(step)
@Steps.post.true("k")
@Steps.operation(aggregator=aggregator())
def everything(*jobs):
    pass


@Steps.pre.after(pairs)
@Steps.pre.copy_from(everything)
@Steps.post(not_(isfile("b")))
@Steps.post.isfile("a")
@Steps.operation(aggregator=aggregator.groupsof(2))
def pairs_again(*jobs):
    pass


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(NUMBERS, st.sampled_from(["a", "b", "r.json", "signac_job_document.json"]), CONTENTS | st.none()),
        max_size=12,
    )
)
def test_a_plan_kept_up_to_date_is_the_plan_made_anew(tmp_path_factory: Any, changes: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("study")
    signac_project = signac.init_project(folder)
    for x in range(5):
        signac_project.open_job({"x": x}).init()
    project = Steps(folder)
    plan = project.plan()
    for operation in plan.definition.operations.values():
        plan.count_states(operation)
    for number, name, content in changes:
        job_id = plan.workspace.job_ids[number]
        path = folder / "workspace" / job_id / name
        path.unlink(missing_ok=True) if content is None else path.write_bytes(content)
        ended = plan.find("step", job_id)
        assert ended is not None
        concerned = plan.update(ended)
        fresh = project.plan()
        expected = {task.key: fresh.state(task) for task in fresh.tasks()}
        assert {task.key: plan.state(task) for task in plan.tasks()} == expected
        assert {task.key for task in concerned} == {t.key for t in plan.tasks() if job_id in t.aggregate.job_ids}
