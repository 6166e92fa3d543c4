"""Names that a shell would read something into: in state points, folders, operations, directives. None is executed."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

HOSTILE = [
    "a b",
    "it's",
    'say "no"',
    "two\nlines",
    "$(touch owned)",
    "`touch owned`",
    "; touch owned",
    "-n",
    "*",
    "é ✔",
    "\\",
]

BODY = """
import shlex
@Project.label
def named(job): return str(job.sp.name)

@Project.post.isfile("a")
@Project.operation(directives={"fork": True})
def forked(job): open(job.fn("a"), "w").close()

@Project.pre.after(forked)
@Project.post.isfile("b c$(touch owned)")
@Project.operation(cmd=True, with_job=True)
def in_folder(job): return f"printf %s {shlex.quote(job.sp.name)} > {shlex.quote('b c$(touch owned)')}"

@Project.pre.after(in_folder)
@Project.post(lambda *jobs: all(job.isfile("c") for job in jobs))
@Project.operation(aggregator=aggregator.groupby("name"), cmd=True)
def grouped(*jobs): return " && ".join(f"touch {shlex.quote(job.fn('c'))}" for job in jobs)
"""


@pytest.mark.parametrize("folder", ["plain", "a b", "it's $(touch owned)", '"quoted" `touch owned`', "new\nline"])
def test_hostile_names_are_data_everywhere(make_study, folder: str) -> None:
    study = make_study(BODY, *({"name": name} for name in HOSTILE), name=folder)
    run = study.cli("run", "--parallel", "2")
    assert "33 completed" in run.stderr
    for job_id in study.make_jobs():
        name = json.loads((study.job(job_id) / "signac_statepoint.json").read_text())["name"]
        assert (study.job(job_id) / "b c$(touch owned)").read_text() == name
    for view in ((), ("-d", "-p"), ("--stack", "-p", "name"), ("--json",), ("--format", "csv", "-d", "-p")):
        shown = study.cli("status", *view)
        assert "Traceback" not in shown.stderr
    assert "\\n" in study.cli("status", "-d", "-p", "name").stdout  # shown escaped, on one line
    study.cli("explain", "--all")
    study.cli("logs", "--path", "-o", "forked", check=None)
    assert not list(study.path.parent.rglob("owned"))


@pytest.mark.parametrize("folder", ["it's $(touch owned)", '"quoted" `touch owned`'])
def test_scripts_quote_what_they_name(make_study, folder: str) -> None:
    study = make_study(BODY, *({"name": name} for name in HOSTILE[:3]), name=folder)
    script = study.path.parent / "script.sh"
    script.write_text(study.cli("submit", "--pretend", "-b", "3", "-o", "forked").stdout)
    bash = shutil.which("bash")
    assert bash
    subprocess.run([bash, script], check=True, cwd=study.path.parent, capture_output=True)
    assert len(list(study.path.glob("workspace/*/a"))) == 3
    assert not list(study.path.parent.rglob("owned"))


def test_an_operation_is_not_named_like_an_option(make_study) -> None:
    study = make_study("@Project.operation('-n')\ndef work(job): pass", {"x": 0})
    assert "can't begin with a hyphen" in study.cli("status", check=1).stderr


@pytest.mark.parametrize("name", [name for name in HOSTILE if name != "-n"])
def test_an_operation_may_have_any_other_name(make_study, name: str, tmp_path: Path) -> None:
    body = f"""
@Project.post.isfile("a")
@Project.operation({name!r}, directives={{"fork": True}})
def work(job):
    print("speaks")
    open(job.fn("a"), "w").close()
"""
    study = make_study(body, {"x": 0})
    assert "1 completed" in study.cli("run").stderr
    (task,) = json.loads(study.cli("status", "--json").stdout)["tasks"]
    assert (task["operation"], task["state"]) == (name, "completed")
    assert "speaks" in study.cli("logs", "-j", task["aggregate"]).stdout
    assert not list(tmp_path.rglob("owned"))
