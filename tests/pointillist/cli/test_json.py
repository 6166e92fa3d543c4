"""``--json``: one document each, of a documented schema, and nothing else on standard output."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from pointillist.cli.main import COMMANDS

DOCS = Path(__file__).resolve().parents[3] / "docs" / "json.md"
BODY = """
@Project.label
def small(job): return job.sp.x < 2
@Project.pre(lambda job: print("condition speaks") or job.sp.x != 2)
@Project.post.isfile("a")
@Project.operation
def work(job):
    print("task speaks")
    if job.sp.x == 1: raise ValueError("no good")
    open(job.fn("a"), "w").close()
@Project.pre.after(work)
@Project.operation(cmd=True, aggregator=aggregator())
def together(*jobs): return "echo together"
"""


@pytest.fixture
def study(make_study) -> Any:
    return make_study(BODY, *({"x": x} for x in range(4)))


def ask(study: Any, *words: str, check: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(study.cli(*words, "--json", check=check).stdout)
    assert f"`{document['schema']}`" in DOCS.read_text()
    return document


def test_run_tells_what_became_of_each_task(study: Any) -> None:
    assert len(ask(study, "run", "--pretend")["commands"]) == 3
    run = ask(study, "run", check=1)
    assert run["exit_code"] == 1
    assert {entry["operation"] for entry in run["completed"]} == {"work"}
    assert len(run["completed"]) == 2
    (failed,) = run["failed"]
    assert failed["attempt"]["message"] == "ValueError: no good"
    assert ask(study, "run")["completed"] == []


def test_every_reading_command_answers_with_a_document(study: Any) -> None:
    jobs = study.make_jobs()
    assert set(ask(study, "next", "work")["aggregates"]) < set(jobs)
    study.cli("run", check=1)
    assert len(ask(study, "status")["tasks"]) == 5
    explained = ask(study, "explain", "-o", "work", "--all")
    assert explained["more"] == 0
    assert [len(task["conditions"]) for task in explained["tasks"]] == [2] * 4
    assert {c["holds"] for task in explained["tasks"] for c in task["conditions"]} == {True, False}
    assert {task["state"] for task in explained["tasks"]} == {"completed", "failed", "waiting"}
    (attempt,) = ask(study, "logs")["attempts"]
    assert attempt["outcome"] == "failed"
    assert Path(study.path, attempt["log"]).exists()
    (usage,) = ask(study, "usage")["operations"]
    assert usage["tasks"] == 2
    for field in (*explained["tasks"][0], *attempt, *usage):
        assert f"`{field}`" in DOCS.read_text()
    assert ask(study, "logs", "-o", "together", check=3)["attempts"] == []


@pytest.mark.parametrize("points", [[], [{"x": 2}]], ids=["no job", "no attempt"])
@pytest.mark.parametrize(
    "words", [["status"], ["explain"], ["usage"], ["logs"], ["logs", "-o", "work"], ["next", "work"], ["run"]]
)
def test_exit_code_is_the_same_as_without(make_study, points: list[dict[str, int]], words: list[str]) -> None:
    study = make_study(BODY, *points)
    ask(study, *words, check=study.cli(*words, check=None).returncode)


def test_a_condition_without_an_answer_is_null(make_study) -> None:
    study = make_study("@Project.post(lambda job: 1 / 0)\n@Project.operation\ndef work(job): pass", {"x": 0})
    (task,) = ask(study, "explain")["tasks"]
    assert task["state"] == "broken"
    assert task["conditions"][0]["holds"] is None
    assert "ZeroDivisionError" in task["conditions"][0]["why"]


def test_the_documented_schemas_are_those_of_the_commands() -> None:
    named = set(re.findall(r"`(pointillist/\w+/\d+)`", DOCS.read_text()))
    code = "".join(path.read_text() for path in (DOCS.parents[1] / "pointillist" / "cli").glob("*.py"))
    assert set(re.findall(r'SCHEMA = "(pointillist/\w+/\d+)"', code)) == named


@pytest.mark.parametrize("name", ["table", "md", "csv", "html", "terminal", "markdown"])
def test_formats_have_short_names(study: Any, name: str) -> None:
    assert "work" in study.cli("status", "--format", name).stdout


@pytest.mark.parametrize("command", ["status", "run", "submit", "explain", "logs", "usage", "cancel", "next", "exec"])
def test_help_has_three_examples(study: Any, command: str) -> None:
    assert command in COMMANDS
    text = study.cli(command, "--help").stdout
    assert text.split("examples:")[1].count("python project.py") >= 3


def test_submit_tells_what_the_scheduler_took(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "SimpleSchedulerEnvironment")
    monkeypatch.setenv("POINTILLIST_QUEUE", str(tmp_path / "queue"))
    pretended = ask(study, "submit", "--pretend", "-o", "work", "-n", "2", "--no-array")
    assert [script["tasks"] for script in pretended["scripts"]] == [1, 1]
    assert all(script["text"].startswith("#!") and "submit" in script["command"] for script in pretended["scripts"])
    taken = ask(study, "submit", "-o", "work", "-n", "2", "--no-array", "--hold")["submissions"]
    assert len({one["id"] for one in taken}) == 2
    assert {task["operation"] for one in taken for element in one["elements"] for task in element} == {"work"}
    queued = [task["aggregate"] for task in ask(study, "status")["tasks"] if task["state"] == "queued"]
    assert sorted(queued) == sorted(one["elements"][0][0]["aggregate"] for one in taken)
    assert ask(study, "submit", "-o", "together")["submissions"] == []
    study.cli("cancel", "--all")
