"""A clock that is set back: what happened last is told by what was known, not by the time it was said to be."""

from __future__ import annotations

import json

import pytest

BODY = """
    import os, time
    real = time.time
    time.time = lambda: real() + float(os.environ.get("SHIFT_S", "0"))

    @Project.operation
    def work(job):
        with open("record", "a") as file:
            file.write("begin\\n")
        if os.environ["END"] == "bad":
            raise RuntimeError("on purpose")
"""


def state(study) -> str:
    (task,) = json.loads(study.cli("status", "--json").stdout)["tasks"]
    return f"{task['state']} after {task['last_attempt']['outcome']}"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch):
    def set_clock(shift_s: int, end: str) -> None:
        monkeypatch.setenv("SHIFT_S", str(shift_s))
        monkeypatch.setenv("END", end)

    return set_clock


def test_a_task_that_was_mended_by_an_earlier_clock_has_not_failed(make_study, at) -> None:
    study = make_study(BODY, {"x": 0})
    at(0, "bad")
    study.cli("run", check=1)
    for shift_s in (-3600, -7200):
        at(shift_s, "well")
        study.cli("run", "--retry-failed")
        assert state(study) == "eligible after ended"


@pytest.mark.parametrize("command", [["run"], ["exec", "work"]], ids=["run", "exec"])
def test_a_task_that_has_failed_by_an_earlier_clock_is_not_tried_again(make_study, at, command: list[str]) -> None:
    study = make_study(BODY, {"x": 0})
    at(0, "well")
    study.cli(*command)
    at(-3600, "bad")
    study.cli("run", check=1)
    assert state(study) == "failed after failed"
    study.cli("run")
    assert (study.path / "record").read_text() == "begin\n" * 2
    at(-7200, "well")
    study.cli("exec", "work")
    assert state(study) == "eligible after ended"


def test_the_log_of_the_last_attempt_is_shown_though_the_clock_says_otherwise(make_study, at) -> None:
    study = make_study(BODY, {"x": 0})
    for shift_s in (0, -3600):
        at(shift_s, "bad")
        study.cli("run", "--retry-failed", check=1)
    assert study.cli("logs", "--path").stdout.endswith(".2.log\n")
    assert len(study.cli("logs", "--path", "--all").stdout.splitlines()) == 2
