"""A job as a condition sees it answers like signac's own, to everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytest
import signac
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pointillist.state.jobs import METHODS, SeenJob
from pointillist.state.workspace import Workspace

QUESTIONS: dict[str, Callable[[Any], Any]] = {
    name: eval(f"lambda job: {name}")
    for name in (
        "job.id",
        "str(job)",
        "repr(job)",
        "job.path",
        "job.fn('a')",
        "job.isfile('a')",
        "job.isfile('none')",
        "job.isfile('sub')",
        "job.isfile('sub/x')",
        "job.isfile('signac_job_document.json')",
        "job.sp.x",
        "job.sp['x']",
        "job.sp.get('x')",
        "job.sp.get('none', 5)",
        "job.sp.none",
        "job.sp['none']",
        "'x' in job.sp",
        "3 in job.sp",
        "len(job.sp)",
        "job.sp.nested.y",
        "job.sp.nested()",
        "list(job.sp.items_)",
        "job.sp()",
        "job.statepoint()",
        "sorted(job.statepoint)",
        "job.cached_statepoint['x']",
        "job.doc.k",
        "job.doc['k']",
        "job.doc.get('k')",
        "job.doc.get('k', 7)",
        "job.doc.get(3)",
        "job.doc[3]",
        "job.doc.none",
        "job.doc['none']",
        "job.doc.get('none')",
        "'k' in job.doc",
        "bool(job.doc)",
        "len(job.document)",
        "job.document()",
        "dict(job.doc)",
        "list(job.doc.keys())",
        "str(job.doc)",
        "repr(job.doc)",
        "job.doc == {'k': 1}",
        "job.doc.keys",
        "callable(job.doc.get)",
        "job.doc.nested.y",
        "job.doc.list[0]",
        "type(job.doc.list).__name__",
        "job.doc.setdefault('new', 4)",
        "job.doc.update(k=2)",
        "job.doc.pop('k')",
        "isinstance(job.doc, (dict, list))",
        "isinstance(job.doc, Mapping)",
        "isinstance(job.sp, MutableMapping)",
        "isinstance(job, signac.job.Job)",
        "isinstance(job, str)",
        "hash(job)",
        "hash(job.doc)",
        "job.none",
        "job.project.path",
        "pickle.loads(pickle.dumps(job)) == job",
        "copy.copy(job).id",
        "copy.deepcopy(job).sp.x",
        "os.fspath(job)",
        "iter(job)",
        "json.dumps(job.doc)",
    )
}  # fmt: skip


def answer(question: Callable[[Any], Any], job: Any) -> Any:
    try:
        value = question(job)
    except Exception as error:
        return type(error), str(error).replace("SeenJob", "Job")
    return value if isinstance(value, (str, int, float, type(None), list, dict, bool)) else type(value).__name__


def both_kinds(folder: Path) -> tuple[SeenJob, Any]:
    project = signac.init_project(folder)
    job = project.open_job({"x": 1, "nested": {"y": 2}, "items_": [1, 2]}).init()
    (Path(job.path) / "a").touch()
    (Path(job.path) / "sub").mkdir(exist_ok=True)
    (Path(job.path) / "sub" / "x").touch()
    reader = Workspace(project.workspace, lambda statepoint, i: signac.get_project(folder).open_job(id=i))
    return reader.seen_job(job.id), job


DOCUMENTS = [
    None,
    b"{}",
    b'{"k": 1}',
    b'{"k": null}',
    b'{"k": 0.5, "nested": {"y": [1]}, "list": [true]}',
    b'{"k": {"a": 1}}',
    b'{"k": [1, 2]}',
    b'{"get": 1, "keys": 2, "k": "text"}',
    b"[1]",
    b'{"k": ',
    b"\xff",
    b"",
]


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_the_answer_of_signac(tmp_path: Path, document: bytes | None, question: str) -> None:
    seen, job = both_kinds(tmp_path)
    path = Path(job.fn("signac_job_document.json"))

    def write() -> None:
        path.unlink(missing_ok=True) if document is None else path.write_bytes(document)

    write()
    expected = answer(QUESTIONS[question], signac.get_project(tmp_path).open_job(id=job.id))
    left = path.read_bytes() if path.exists() else None
    write()
    assert answer(QUESTIONS[question], seen) == expected
    assert (path.read_bytes() if path.exists() else None) == left


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b", "get", "k_1"]), JSON_VALUES, max_size=4))
def test_any_document_reads_as_signac_reads_it(tmp_path: Path, document: dict[str, Any]) -> None:
    seen, job = both_kinds(tmp_path)
    Path(job.fn("signac_job_document.json")).write_text(json.dumps(document))
    real = signac.get_project(tmp_path).open_job(id=job.id)
    for key in ("a", "b", "get", "k_1", "none"):
        for question in (
            lambda j, key=key: j.doc.get(key),
            lambda j, key=key: j.doc[key],
            lambda j, key=key: key in j.doc,
            lambda j, key=key: getattr(j.doc, key, "absent"),
        ):
            assert answer(question, seen) == answer(question, real)


def test_what_changes_is_seen_at_once(tmp_path: Path) -> None:
    seen, job = both_kinds(tmp_path)
    document = seen.doc
    assert not document.get("k")
    job.doc.k = 1
    assert document.get("k") == 1
    assert seen.doc.k == 1
    seen.doc.k = 2
    assert job.doc.k == 2
    seen.doc["k"] = 3
    del seen.doc["k"]
    seen.document = {"m": 1}
    assert job.doc() == {"m": 1}
    assert not seen.isfile("later")
    Path(job.fn("later")).touch()
    assert seen.isfile("later")


def test_jobs_are_equal_whoever_opened_them(tmp_path: Path) -> None:
    seen, job = both_kinds(tmp_path)
    other, _ = both_kinds(tmp_path / "elsewhere")
    again, _ = both_kinds(tmp_path)
    assert seen == job
    assert job == seen
    assert seen == again
    assert seen != other
    assert seen != "text"
    assert len({seen, job, again}) == 1


def test_a_job_can_be_entered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    seen, job = both_kinds(tmp_path)
    with seen:
        assert os.getcwd() == os.path.realpath(job.path)
    assert os.getcwd() == os.path.realpath(tmp_path)


def test_the_names_of_mappings_are_those_of_signac(tmp_path: Path) -> None:
    _, job = both_kinds(tmp_path)
    for mapping in (job.document, job.statepoint):
        assert isinstance(mapping, Mapping)
        assert isinstance(mapping, MutableMapping)
        assert {name for name in dir(type(mapping)) if not name.startswith("_")} <= METHODS


def test_status_with_functions_that_ask_for_little_does_not_import_signac(make_study: Any) -> None:
    body = """
        @Project.label
        def is_ready(job):
            return job.doc.get("ready", False) or job.sp.x > 0
        @Project.post(lambda job: job.isfile("a") and "k" in job.document)
        @Project.operation
        def work(job): pass
    """
    study = make_study(body, {"x": 0}, {"x": 1})
    run = subprocess.run(
        [sys.executable, "-X", "importtime", str(study.path / "project.py"), "status"],
        cwd=study.path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0
    assert "1/2 (50 %)" in run.stdout
    imported = {line.rpartition("|")[2].strip() for line in run.stderr.splitlines()}
    assert "pointillist.state.jobs" in imported
    assert not imported & {"signac", "numpy", "synced_collections"}
