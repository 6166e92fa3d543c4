"""Damaged job folders, documents and workspaces: one is named, the others go on, nothing is touched."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

TWO = """
@Project.post.isfile("a")
@Project.operation
def work(job):
    open(job.fn("a"), "w").close()

@Project.pre.true("go")
@Project.operation
def reads_document(job):
    pass
"""


def obey_permissions() -> None:
    """Take from this process, and those it starts, root's privilege to ignore permissions; call before ``exec``."""
    if os.getuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH (capabilities(7))
            if libc.prctl(24, capability, 0, 0, 0) != 0:  # PR_CAPBSET_DROP
                raise OSError(ctypes.get_errno(), "the privilege can't be dropped")


def tree(folder: Path) -> dict[str, bytes | str | None]:
    return {
        str(path): os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def replace_by_dangling_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(folder.parent / "nowhere")


def replace_by_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("no folder")


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("no state point", lambda f: (f / "signac_statepoint.json").unlink(), "no signac_statepoint.json"),
    ("another id", lambda f: (f / "signac_statepoint.json").write_text('{"x": 99}'), "does not belong"),
    ("cut off", lambda f: (f / "signac_statepoint.json").write_text('{"x": '), "not valid JSON (line 1)"),
    ("not UTF-8", lambda f: (f / "signac_statepoint.json").write_bytes(b'{"x": "\xff"}'), "not UTF-8"),
    ("a list", lambda f: (f / "signac_statepoint.json").write_text("[1]"), "no JSON object"),
    ("dangling link", replace_by_dangling_link, "no signac_statepoint.json"),
    ("a file", replace_by_file, "can't be read (Not a directory)"),
]


@pytest.mark.parametrize(("damage", "words"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_a_damaged_folder_is_named_by_every_command_and_the_others_run(make_study, damage, words: str) -> None:
    study = make_study(TWO, *({"x": x} for x in range(3)))
    bad, *good = study.make_jobs()
    damage(study.job(bad))
    status = study.cli("status")
    assert "2 jobs, 4 tasks" in status.stdout
    assert bad in status.stderr
    assert words in status.stderr
    (error,) = json.loads(study.cli("status", "--json").stdout)["errors"]
    assert bad in error["message"]
    before = tree(study.path / "workspace")
    run = study.cli("run")
    assert bad in run.stderr
    assert words in run.stderr
    assert "2 completed" in run.stderr
    done = {str(study.job(i) / "a"): b"" for i in good}
    assert tree(study.path / "workspace") == before | done


def test_a_document_that_is_a_list_breaks_only_the_tasks_that_read_it(make_study) -> None:
    study = make_study(TWO, {"x": 0}, {"x": 1})
    bad = study.make_jobs()[0]
    (study.job(bad) / "signac_job_document.json").write_text("[1, 2]")
    run = study.cli("run")
    assert f"Job {bad}: signac_job_document.json holds no JSON object." in run.stderr
    assert "2 completed" in run.stderr
    tasks = {(t["operation"], t["state"]) for t in json.loads(study.cli("status", "--json").stdout)["tasks"]}
    assert tasks == {("work", "completed"), ("reads_document", "broken"), ("reads_document", "waiting")}
    assert (study.job(bad) / "signac_job_document.json").read_text() == "[1, 2]"


def test_an_unreadable_folder_is_one_broken_job(make_study) -> None:
    study = make_study(TWO, *({"x": x} for x in range(3)))
    bad = study.make_jobs()[1]
    study.job(bad).chmod(0)
    try:
        status = study.cli("status", preexec_fn=obey_permissions)
        run = study.cli("run", preexec_fn=obey_permissions)
    finally:
        study.job(bad).chmod(0o755)
    assert f"Job {bad}: signac_statepoint.json can't be read (Permission denied)." in status.stderr
    assert "2 jobs, 4 tasks" in status.stdout
    assert "2 completed" in run.stderr


def test_a_folder_in_which_nothing_can_be_written_fails_one_task(make_study) -> None:
    study = make_study(TWO, *({"x": x} for x in range(3)))
    bad = study.make_jobs()[1]
    study.job(bad).chmod(0o555)
    run = study.cli("run", check=1, preexec_fn=obey_permissions)
    assert "2 completed, 1 failed" in run.stderr
    assert "Permission denied" in run.stderr
    assert bad in run.stderr
    study.job(bad).chmod(0o755)
    assert "1 completed" in study.cli("run", "--retry-failed", preexec_fn=obey_permissions).stderr


def test_a_dangling_link_is_no_file(make_study) -> None:
    study = make_study(TWO, {"x": 0}, {"x": 1})
    linked = study.make_jobs()[0]
    (study.job(linked) / "a").symlink_to("gone")
    states = [t["state"] for t in json.loads(study.cli("status", "--json", "-o", "work").stdout)["tasks"]]
    assert states == ["eligible", "eligible"]
    assert "2 completed" in study.cli("run").stderr  # the operation writes through the link
    assert (study.job(linked) / "gone").exists()


@pytest.mark.parametrize("command", ["status", "run", "next work", "explain", "logs", "usage", "submit --pretend"])
def test_a_workspace_that_is_a_file_ends_in_a_sentence(make_study, command: str) -> None:
    study = make_study(TWO, {"x": 0})
    shutil.rmtree(study.path / "workspace")
    (study.path / "workspace").write_text("mine")
    result = study.cli(*command.split(), check=2)
    assert f"The workspace {study.path / 'workspace'} can't be read: Not a directory." in result.stderr
    assert "It must be a readable folder." in result.stderr
    assert "Traceback" not in result.stderr
    assert (study.path / "workspace").read_text() == "mine"


def test_a_read_only_project_shows_its_status_and_says_why_nothing_runs(make_study) -> None:
    study = make_study(TWO, {"x": 0}, {"x": 1})
    folders = [study.path, study.path / "workspace", *(study.job(i) for i in study.make_jobs())]
    for folder in folders:
        folder.chmod(0o555)
    before = tree(study.path)
    status = study.cli("status", preexec_fn=obey_permissions)
    assert ["work", "0", "2", "0", "0", "0"] in [line.split() for line in status.stdout.splitlines()]
    run = study.cli("run", check=2, preexec_fn=obey_permissions)
    assert str(study.path / ".pointillist") in run.stderr
    assert "Permission denied" in run.stderr
    assert "Traceback" not in run.stderr
    assert "run -o work" in study.cli("submit", "--pretend", preexec_fn=obey_permissions).stdout
    assert tree(study.path) == before


def test_a_read_only_workspace_fails_the_tasks_that_write_into_it(make_study) -> None:
    study = make_study(TWO, {"x": 0}, {"x": 1})
    folders = [study.path / "workspace", *(study.job(i) for i in study.make_jobs())]
    for folder in folders:
        folder.chmod(0o555)
    before = tree(study.path / "workspace")
    run = study.cli("run", check=1, preexec_fn=obey_permissions)
    assert "2 failed" in run.stderr
    assert "Permission denied" in run.stderr
    assert tree(study.path / "workspace") == before
    for folder in folders:
        folder.chmod(0o755)
    assert "2 completed" in study.cli("run", "--retry-failed", preexec_fn=obey_permissions).stderr
