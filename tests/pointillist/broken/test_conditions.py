"""Conditions and labels that misbehave: each breaks its own tasks at most, and no answer of a command."""

from __future__ import annotations

import json

import pytest

WORKS = """
@Project.post.isfile("a")
@Project.operation
def works(job):
    open(job.fn("a"), "w").close()
"""


@pytest.mark.parametrize("error", ["1 / 0", "exit(3)", "job.sp.nothing", "no_such_name", "raise_()"])
def test_a_condition_that_raises_is_named_with_its_place_and_the_others_go_on(make_study, error: str) -> None:
    body = f"""
        class Odd(BaseException): pass
        def raise_(): raise Odd("odd")
        @Project.post(lambda job: {error})
        @Project.operation
        def bad(job): pass
    """
    study = make_study(body, {"x": 0}, {"x": 1})
    with open(study.path / "project.py", "r+") as file:
        text = file.read().replace("\nif __name__", WORKS + "\nif __name__")
        file.seek(0)
        file.write(text)
    status = json.loads(study.cli("status", "--json").stdout)
    assert {(t["operation"], t["state"]) for t in status["tasks"]} == {("bad", "broken"), ("works", "eligible")}
    assert all("lambda in project.py line" in e["message"] for e in status["errors"])
    assert "project.py line" in status["errors"][0]["hint"]
    run = study.cli("run", check=1)
    assert "2 completed" in run.stderr
    assert "lambda in project.py line" in run.stderr
    study.cli("run", "-o", "works")


def test_a_label_that_raises_is_named_and_the_others_are_worn(make_study) -> None:
    body = """
        @Project.label
        def good(job): return True
        @Project.label
        def bad(job): return job.doc.nothing.deeper
        @Project.operation
        def work(job): pass
    """
    status = make_study(body, {"x": 0}).cli("status")
    assert "good" in status.stdout
    assert "1/1" in status.stdout
    assert "The label bad raised AttributeError" in status.stderr


PRINTING = """
@Project.label
def loud(job):
    print("label speaks")
    return True
@Project.pre(lambda job: print("condition speaks") or True)
@Project.post.isfile("a")
@Project.operation
def quiet(job):
    open(job.fn("a"), "w").close()
@Project.operation(cmd=True, aggregator=aggregator(select=lambda job: print("selector speaks") or True))
def command(*jobs):
    print("command speaks")
    return "true"
"""


def test_what_conditions_print_is_not_mixed_into_answers(make_study) -> None:
    study = make_study(PRINTING, {"x": 0}, {"x": 1})
    status = study.cli("status", "--json")
    assert len(json.loads(status.stdout)["tasks"]) == 3
    assert "condition speaks" in status.stderr
    assert "label speaks" in status.stderr
    assert sorted(study.cli("next", "quiet").stdout.split()) == study.make_jobs()
    pretended = study.cli("run", "--pretend")
    assert "speaks" not in pretended.stdout
    assert "command speaks" in pretended.stderr


def test_a_condition_may_loop_over_the_whole_project(make_study) -> None:
    body = """
        @Project.pre(lambda job: sum(1 for other in job.project if other.sp.x < 5) == 5)
        @Project.post(lambda job: all(other.isfile("a") for other in job._project))
        @Project.operation
        def work(job): open(job.fn("a"), "w").close()
    """
    study = make_study(body, *({"x": x} for x in range(8)))
    study.cli("run")
    assert all((study.job(i) / "a").exists() for i in study.make_jobs())
    states = {t["state"] for t in json.loads(study.cli("status", "--json").stdout)["tasks"]}
    assert states == {"completed"}


def test_numpy_booleans_are_booleans(make_study) -> None:
    body = """
        import numpy
        @Project.label
        def even(job): return numpy.bool_(job.sp.x % 2 == 0)
        @Project.pre(lambda job: numpy.float64(job.sp.x) > 0)
        @Project.post(lambda job: numpy.array([job.isfile("a")]).all())
        @Project.operation
        def work(job): open(job.fn("a"), "w").close()
        @Project.pre(lambda job: numpy.array([True, False]))
        @Project.operation
        def ambiguous(job): pass
    """
    study = make_study(body, *({"x": x} for x in range(3)))
    status = json.loads(study.cli("status", "--json").stdout)
    states = sorted((t["operation"], t["state"]) for t in status["tasks"])
    assert states == [("ambiguous", "broken")] * 3 + [("work", "eligible")] * 2 + [("work", "waiting")]
    assert status["labels"] == {"even": 2}
    assert "truth value" in status["errors"][0]["message"]
    assert "2 completed" in study.cli("run", check=1).stderr
