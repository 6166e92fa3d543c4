"""What conditions make of a task: eligible, complete or neither, each answer as signac-flow 0.29.1 gives it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject


def new_class() -> Any:
    class Project(FlowProject):
        pass

    return Project


def answers(cls: Any, job: Any) -> dict[str, tuple[bool, bool]]:
    """Return whether each operation is eligible and whether it is complete."""
    known = cls(job.project.path).get_job_status(job)["operations"]
    return {name: (one["eligible"], one["completed"]) for name, one in known.items()}


@pytest.fixture
def job(workspace: signac.Project) -> Any:
    """A job with a file, a folder, and a document of true and false values."""
    job = workspace.open_job({"x": 1})
    Path(job.fn("there")).touch()
    Path(job.fn("folder")).mkdir()
    job.document.update(yes=True, no=False, zero=0, text="x", nested={"yes": True})
    return job


@pytest.mark.parametrize("kind", ["pre", "post"])
@pytest.mark.parametrize(
    ("declare", "holds"),
    [
        (lambda of: of.isfile("there"), True),
        (lambda of: of.isfile("absent"), False),
        (lambda of: of.isfile("folder"), False),
        (lambda of: of.true("yes"), True),
        (lambda of: of.true("text"), True),
        (lambda of: of.true("no"), False),
        (lambda of: of.true("zero"), False),
        (lambda of: of.true("absent"), False),
        (lambda of: of.true("nested.yes"), False),
        (lambda of: of.false("yes"), False),
        (lambda of: of.false("text"), False),
        (lambda of: of.false("no"), True),
        (lambda of: of.false("zero"), True),
        (lambda of: of.false("absent"), True),
        (lambda of: of.never, False),
        (lambda of: of.not_(lambda job: False), True),
        (lambda of: of.not_(lambda job: True), False),
        (lambda of: of.not_(functools.partial(lambda no, job: no, False)), True),
        (lambda of: of(lambda job: "a text"), True),
        (lambda of: of(lambda job: None), False),
        (lambda of: of(lambda *jobs: all(job.sp.x == 1 for job in jobs)), True),
    ],
)
def test_a_condition_holds_or_not(job: Any, kind: str, declare: Callable[[Any], Any], holds: bool) -> None:
    cls = new_class()
    declare(getattr(cls, kind))(cls.operation("work")(lambda job: None))
    assert answers(cls, job)["work"] == ((holds, False) if kind == "pre" else (not holds, holds))


def test_without_conditions_a_task_may_run_and_is_never_complete(job: Any) -> None:
    cls = new_class()
    cls.operation("work")(lambda job: None)
    assert answers(cls, job)["work"] == (True, False)


def test_conditions_are_asked_from_the_top_until_one_does_not_hold(job: Any) -> None:
    seen: list[str] = []

    def asked(name: str, answer: bool) -> Callable[[Any], bool]:
        return lambda job: seen.append(name) or answer  # type: ignore[func-returns-value]

    cls = new_class()

    @cls.pre(asked("first", True))
    @cls.pre(asked("second", False))
    @cls.pre(asked("third", True))
    @cls.operation
    def work(job):
        pass

    assert answers(cls, job)["work"] == (False, False)
    assert seen == ["first", "second"]


def test_after_waits_for_all_its_operations_and_not_for_those_without_post_conditions(job: Any) -> None:
    cls = new_class()
    ends = [cls.post.true(key)(cls.operation(key)(lambda job: None)) for key in ("yes", "late")]
    endless = cls.operation("endless")(lambda job: None)
    cls.pre.after(*ends, endless)(cls.operation("work")(lambda job: None))
    assert not hasattr(cls.post, "after")
    assert answers(cls, job)["work"] == (False, False)
    job.document.late = True
    assert answers(cls, job)["work"] == (True, False)


def test_copied_conditions_are_all_of_those_of_the_other_operation(job: Any) -> None:
    cls = new_class()

    @cls.pre.isfile("there")
    @cls.pre.true("ready")
    @cls.post.true("done")
    @cls.operation
    def one(job):
        pass

    cls.pre.copy_from(one)(cls.post.copy_from(one)(cls.operation("other")(lambda job: None)))
    for changes, expected in (({}, (False, False)), ({"ready": 1}, (True, False)), ({"done": 1}, (False, True))):
        job.document.update(changes)
        assert answers(cls, job) == {"one": expected, "other": expected}
