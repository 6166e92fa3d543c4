"""Jobs made in bulk are the jobs that signac makes, byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import signac
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointillist import FlowProject, grid, make_jobs

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.text(st.characters(blacklist_characters="."), min_size=1, max_size=5)


def tree(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


def test_grid_varies_the_last_parameter_fastest() -> None:
    assert grid(a=[1, 2], b="xy", c=(3, 4)) == [
        {"a": 1, "b": "xy", "c": 3},
        {"a": 1, "b": "xy", "c": 4},
        {"a": 2, "b": "xy", "c": 3},
        {"a": 2, "b": "xy", "c": 4},
    ]


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
