"""Jobs made in bulk are the jobs that signac makes, byte for byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import traceback
from pathlib import Path
from typing import Any

import pytest
import signac
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointillist import FlowProject, grid, make_jobs
from pointillist.state import making, slices

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.text(st.characters(blacklist_characters="."), min_size=1, max_size=5)


def tree(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.fixture
def four_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SMALLEST_SLICE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_ids_and_bytes_are_those_of_signac(tmp_path_factory, statepoints: list[dict[str, Any]]) -> None:
    def outcome(project: Any, make: Any) -> Any:
        try:
            make()
        except Exception as error:
            return type(error)
        return tree(project.workspace)

    theirs = signac.init_project(tmp_path_factory.mktemp("signac"))
    ours = FlowProject.init_project(tmp_path_factory.mktemp("ours"))
    expected = outcome(theirs, lambda: [theirs.open_job(statepoint).init() for statepoint in statepoints])
    assert outcome(ours, lambda: make_jobs(ours, statepoints)) == expected


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ({"a.b": 1}, signac.errors.InvalidKeyError),
        ({"x": {1: 2}}, TypeError),
        ({"x": {1, 2}}, TypeError),
        ("x", TypeError),
        (3, TypeError),
        ([["x", 1]], TypeError),
    ],
)
def test_impossible_state_points_are_named_before_anything_is_made(tmp_path: Path, bad: Any, error: type) -> None:
    project = FlowProject.init_project(tmp_path)
    with pytest.raises(error) as raised:
        make_jobs(project, [{"x": 1}, bad])
    assert repr(bad) in "".join(traceback.format_exception_only(raised.value))
    assert tree(project.workspace) == {}
    assert not os.path.isdir(project.workspace) or not os.listdir(project.workspace)


@pytest.mark.filterwarnings("ignore:Any numpy types")
def test_values_that_json_changes_become_what_signac_makes_of_them(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    statepoints = [{"x": numpy.float64(0.5)}, {"x": (1, 2)}, {"x": {"y": (3,)}}, {"x": [numpy.int64(3)]}]
    theirs = signac.init_project(tmp_path / "signac")
    for statepoint in statepoints:
        theirs.open_job(statepoint).init()
    ours = signac.init_project(tmp_path / "ours")
    assert make_jobs(ours, statepoints) == (4, 0)
    assert tree(ours.workspace) == tree(theirs.workspace)


def test_existing_jobs_are_left_alone_and_counted_once(tmp_path: Path) -> None:
    project = FlowProject.init_project(tmp_path)
    assert make_jobs(project, [{"x": 1}, {"x": 1}, {"x": 2}]) == (2, 0)
    for path in Path(project.workspace).rglob("*.json"):
        path.write_text("mine")
    assert make_jobs(project, grid(x=[1, 2, 3])) == (1, 2)
    assert sorted(tree(project.workspace).values()) == [b"mine", b"mine", b'{"x": 3}']


def test_a_job_cut_off_while_it_was_made_is_completed(tmp_path: Path) -> None:
    project = FlowProject.init_project(tmp_path)
    make_jobs(project, grid(x=[1, 2]))
    expected = tree(project.workspace)
    first, second = sorted(Path(project.workspace).iterdir())
    (first / "signac_statepoint.json").unlink()
    (second / "signac_statepoint.json").write_bytes(b"")
    assert make_jobs(project, grid(x=[1, 2])) == (2, 0)
    assert tree(project.workspace) == expected


@pytest.mark.parametrize("key", ["a.b", 1])
def test_impossible_keys_are_refused_as_by_signac(tmp_path: Path, key: Any) -> None:
    ours = FlowProject.init_project(tmp_path)
    with pytest.raises(Exception, match="key") as caught:
        make_jobs(ours, [{key: 1}])
    with pytest.raises(type(caught.value)):
        signac.get_project(tmp_path).open_job({key: 1}).init()


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.usefixtures("four_slices")
def test_copies_make_the_same_jobs_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(making, "FEW", few)
    project = FlowProject.init_project(tmp_path)
    assert make_jobs(project, grid(x=range(10))) == (10, 0)
    first, second = sorted(Path(project.workspace).iterdir())[3:5]
    (first / "signac_statepoint.json").unlink()
    (second / "signac_statepoint.json").write_bytes(b"")
    assert make_jobs(project, [*grid(x=range(40)), {"x": (1, 2)}]) == (33, 8)
    made = signac.get_project(tmp_path)
    assert sorted(job.statepoint()["x"] for job in made if job.statepoint()["x"] != [1, 2]) == list(range(40))
    assert {job.id for job in made} == {path.name for path in Path(project.workspace).iterdir()}
    assert make_jobs(project, grid(x=range(40))) == (0, 40)


@pytest.mark.usefixtures("four_slices")
def test_what_goes_wrong_in_a_copy_is_raised_here_and_the_next_call_makes_the_rest(tmp_path: Path) -> None:
    project = FlowProject.init_project(tmp_path)
    statepoints = grid(x=range(40))
    last = tmp_path / "workspace" / making.statepoint_id(statepoints[-1])
    last.parent.mkdir(exist_ok=True)
    last.write_text("a file where the folder should be")
    with pytest.raises(NotADirectoryError, match=last.name):
        make_jobs(project, statepoints)
    last.unlink()
    assert make_jobs(project, statepoints) == (1, 39)


@pytest.mark.usefixtures("four_slices")
def test_jobs_made_by_a_copy_that_died_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, write = os.getpid(), making._write

    def write_and_die(folder: str, content: Any) -> None:
        if os.getpid() != here and content == json.dumps({"x": 35}).encode():
            os._exit(1)
        write(folder, content)

    monkeypatch.setattr(making, "_write", write_and_die)
    project = FlowProject.init_project(tmp_path)
    assert make_jobs(project, grid(x=range(40))) == (40, 0)
    assert {p.read_bytes() for p in Path(project.workspace).rglob("*.json")} == {
        json.dumps({"x": x}).encode() for x in range(40)
    }


def test_two_programs_at_once_make_each_job_once_and_count_it_once(tmp_path: Path) -> None:
    def make() -> None:
        project = FlowProject.get_project(tmp_path)
        barrier.wait()
        counts.put(tuple(make_jobs(project, grid(x=range(600)))))

    FlowProject.init_project(tmp_path)
    context = multiprocessing.get_context("fork")
    barrier, counts = context.Barrier(2), context.SimpleQueue()
    programs = [context.Process(target=make) for _ in range(2)]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
        assert program.exitcode == 0
    (new, existing), (other_new, other_existing) = counts.get(), counts.get()
    assert new + other_new == 600
    assert existing + other_existing == 600
    assert len(signac.get_project(tmp_path)) == 600


def test_a_state_point_that_another_program_is_about_to_write_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = FlowProject.init_project(tmp_path)
    folder = tmp_path / "workspace" / making.statepoint_id({"x": 1})
    folder.mkdir(parents=True)
    monkeypatch.setattr(making.time, "sleep", lambda _: (folder / "signac_statepoint.json").write_text("theirs"))
    assert make_jobs(project, [{"x": 1}]) == (0, 1)
    assert (folder / "signac_statepoint.json").read_text() == "theirs"


def test_a_job_removed_since_the_workspace_was_listed_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = FlowProject.init_project(tmp_path)
    make_jobs(project, grid(x=range(3)))
    expected = tree(project.workspace)
    real = os.listdir

    def list_and_remove(path: str) -> list[str]:
        names = real(path)
        shutil.rmtree(Path(path, names[0]))
        return names

    monkeypatch.setattr(making, "FEW", 0)
    monkeypatch.setattr(os, "listdir", list_and_remove)
    assert make_jobs(project, grid(x=range(3))) == (1, 2)
    assert tree(project.workspace) == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="There is no /dev/full here.")
def test_a_state_point_for_which_there_is_no_room_is_not_taken_for_whole(tmp_path: Path) -> None:
    project = FlowProject.init_project(tmp_path)
    folder = tmp_path / "workspace" / making.statepoint_id({"x": 1})
    folder.mkdir(parents=True)
    (folder / "signac_statepoint.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="space"):
        make_jobs(project, [{"x": 1}])
    assert list(folder.iterdir()) == []
    assert make_jobs(project, [{"x": 1}]) == (1, 0)
