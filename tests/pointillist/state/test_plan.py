"""The states of tasks, asked of real workspaces."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject, aggregator, has_keys, isfile, not_, true
from pointillist.errors import ProjectNotFoundError, UserOperationError
from pointillist.state.tasks import State


def new_class() -> Any:
    class Project(FlowProject):
        pass

    return Project


def states(project: FlowProject) -> dict[str, list[str]]:
    plan = project.plan()
    found: dict[str, list[str]] = {}
    for task in plan.tasks():
        found.setdefault(task.operation.name, []).append(plan.state(task).value)
    return found


def jobs_of(project: signac.Project) -> list[signac.job.Job]:
    return sorted(project, key=lambda job: job.id)


def test_conditions_decide_whatever_the_journal_says(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post.isfile("a")
    @cls.operation
    def first(job):
        pass

    @cls.pre.after(first)
    @cls.operation
    def second(job):
        pass

    project = cls(workspace.path)
    assert states(project) == {"first": ["eligible"] * 3, "second": ["waiting"] * 3}
    Path(jobs_of(workspace)[1].fn("a")).touch()
    assert states(project) == {
        "first": ["eligible", "completed", "eligible"],
        "second": ["waiting", "eligible", "waiting"],
    }


@pytest.mark.parametrize(
    ("condition", "prepare"),
    [
        (isfile("a"), lambda job: Path(job.fn("a")).touch()),
        (isfile("sub/a"), lambda job: (Path(job.path, "sub").mkdir(), Path(job.fn("sub/a")).touch())),
        (true("k"), lambda job: job.document.update(k=1)),
        (not_(true("k")), lambda job: job.document.update(k=0)),
        (has_keys("r.json", ["p", "q"]), lambda job: Path(job.fn("r.json")).write_text('{"p": 1, "q": null}')),
        (lambda job: job.doc.get("k") == 3, lambda job: job.document.update(k=3)),
    ],
)
def test_a_condition_answers_alike_in_a_plan_and_called_with_a_job(
    workspace: signac.Project, condition: Any, prepare: Callable[[Any], None]
) -> None:
    cls = new_class()

    @cls.post(condition)
    @cls.operation
    def work(job):
        pass

    first, *others = jobs_of(workspace)
    prepare(first)
    for job in others:
        job.document.update(k=True if condition == not_(true("k")) else 0)
    assert states(cls(workspace.path)) == {"work": ["completed", "eligible", "eligible"]}
    assert [bool(condition(job)) for job in (first, *others)] == [True, False, False]


def test_a_folder_is_no_file(workspace: signac.Project) -> None:
    for job in workspace:
        Path(job.fn("a")).mkdir()
    assert not any(isfile("a")(job) for job in workspace)


def test_an_aggregate_needs_the_condition_for_each_of_its_jobs(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post.isfile("a")
    @cls.operation(aggregator=aggregator())
    def work(*jobs):
        pass

    project = cls(workspace.path)
    for job in jobs_of(workspace):
        assert states(project) == {"work": ["eligible"]}
        Path(job.fn("a")).touch()
    assert states(project) == {"work": ["completed"]}


def test_after_a_single_job_operation_holds_for_an_aggregate_when_all_jobs_are_done(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post(lambda job: job.isfile("a"))
    @cls.operation
    def each(job):
        pass

    @cls.pre.after(each)
    @cls.operation(aggregator=aggregator())
    def together(*jobs):
        pass

    project = cls(workspace.path)
    for job in jobs_of(workspace):
        assert states(project)["together"] == ["waiting"]
        Path(job.fn("a")).touch()
    assert states(project)["together"] == ["eligible"]


def test_states_counted_in_one_sweep_are_those_of_tasks_asked_one_by_one(tmp_path: Path) -> None:
    signac_project = signac.init_project(tmp_path)
    contents = [None, "{}", '{"p": 1}', "{damaged"]
    pairs = [(first, second) for first in contents for second in contents]
    for x, pair in enumerate(pairs):
        for y, content in enumerate(pair):
            job = signac_project.open_job({"x": x, "y": y}).init()
            if content is not None:
                Path(job.fn("r.json")).write_text(content)
            if x % 3 == y:
                Path(job.fn("a")).touch()
    has_p = has_keys("r.json", ["p"])
    cls = new_class()

    @cls.pre(not_(has_p))
    @cls.post(not_(isfile("a")))
    @cls.operation
    def single(job):
        pass

    for name, decorators in {
        "each": [cls.pre(has_p), cls.post(isfile("a"))],
        "opposite": [cls.pre(not_(isfile("a"))), cls.post(not_(has_p))],
        "after": [cls.pre.after(single)],
        "copied": [cls.pre.copy_from(single), cls.post(isfile("a")), cls.post(lambda *jobs: len(jobs) > 1)],
        "function": [cls.pre(lambda *jobs: jobs[0].isfile("a")), cls.pre(has_p), cls.post(has_p)],
    }.items():

        def together(*jobs):
            pass

        together.__name__ = name
        for decorator in decorators:
            decorator(together)
        cls.operation(aggregator=aggregator.groupby("x"))(together)

    project = cls(tmp_path)
    one_by_one: dict[str, dict[State, int]] = {}
    for task in (plan := project.plan()).tasks():
        count = one_by_one.setdefault(task.operation.name, dict.fromkeys(State, 0))
        count[plan.state(task)] += 1
    swept = project.plan()
    assert {name: swept.count_states(o) for name, o in swept.definition.operations.items()} == one_by_one
    assert {n for counts in one_by_one.values() for n in counts.values()} > {0, 1}


def test_a_sweep_leaves_failed_and_running_tasks_on_several_jobs_what_they_are(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post.isfile("a")
    @cls.operation(aggregator=aggregator.groupsof(1, sort_by="x"))
    def work(*jobs):
        raise ValueError

    project = cls(workspace.path)
    jobs = jobs_of(workspace)
    with pytest.raises(UserOperationError):
        project.run(jobs=[jobs[0]])
    sessions = project.sessions()
    session = sessions.open()
    assert sessions.claim(session, "work", jobs[1].id)
    counts = project.plan().count_states(project.plan().definition.operations["work"])
    assert {state: n for state, n in counts.items() if n} == {State.FAILED: 1, State.RUNNING: 1, State.ELIGIBLE: 1}
    session.close()


def test_each_opaque_condition_is_called_once_for_each_job(workspace: signac.Project) -> None:
    cls, calls = new_class(), []

    @cls.label
    def done(job):
        calls.append(job.id)
        return False

    @cls.post(done)
    @cls.operation
    def first(job):
        pass

    @cls.pre(not_(done))
    @cls.post(done)
    @cls.operation
    def second(job):
        pass

    plan = cls(workspace.path).plan()
    for task in plan.tasks():
        plan.state(task)
    assert sorted(calls) == sorted(job.id for job in workspace)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "signac_statepoint.json").write_text('{"x": '), "not valid JSON"),
        (lambda folder: (folder / "signac_statepoint.json").write_text('{"x": 99}'), "does not belong"),
        (lambda folder: (folder / "signac_statepoint.json").write_bytes(b'{"x": "\xff"}'), "not UTF-8"),
        (lambda folder: (folder / "signac_statepoint.json").write_text("[1]"), "no JSON object"),
        (lambda folder: (folder / "signac_statepoint.json").unlink(), "no signac_statepoint.json"),
    ],
)
def test_a_broken_folder_is_one_broken_job(workspace: signac.Project, damage: Any, words: str) -> None:
    cls = new_class()

    @cls.post.isfile("a")
    @cls.operation
    def work(job):
        pass

    bad = jobs_of(workspace)[1]
    damage(Path(bad.path))
    plan = cls(workspace.path).plan()
    assert [task.aggregate.id for task in plan.tasks()] == sorted({j.id for j in jobs_of(workspace)} - {bad.id})
    assert list(plan.workspace.broken) == [bad.id]
    assert words in str(plan.workspace.broken[bad.id])


def test_a_damaged_document_breaks_only_the_tasks_that_read_it(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post.true("done")
    @cls.operation
    def reads(job):
        pass

    @cls.post.isfile("a")
    @cls.operation
    def does_not(job):
        pass

    bad = jobs_of(workspace)[0]
    Path(bad.fn("signac_job_document.json")).write_text("[")
    assert states(cls(workspace.path)) == {"reads": ["broken", "eligible", "eligible"], "does_not": ["eligible"] * 3}


def test_a_condition_that_raises_breaks_its_own_tasks(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post(lambda job: 1 / job.sp.x)
    @cls.operation
    def work(job):
        pass

    plan = cls(workspace.path).plan()
    assert sorted(plan.state(task) for task in plan.tasks()) == [State.BROKEN, State.COMPLETED, State.COMPLETED]
    (error,) = plan.errors.values()
    assert "ZeroDivisionError" in str(error)


def test_a_plan_changes_nothing(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post.true("done")
    @cls.operation
    def work(job):
        pass

    def tree() -> dict[str, Any]:
        return {str(p): p.read_bytes() if p.is_file() else None for p in Path(workspace.path).rglob("*")}

    before = tree()
    states(cls(workspace.path))
    assert tree() == before


def test_no_project_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProjectNotFoundError) as caught:
        new_class()(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "init" in caught.value.hint


def test_a_flow_project_is_a_signac_project_to_its_user(workspace: signac.Project) -> None:
    project = new_class()(workspace.path)
    assert len(project) == 3
    assert {job.id for job in project} == {job.id for job in workspace}
    assert project.open_job({"x": 1}) in project
    assert [job.sp.x for job in project.find_jobs({"x": 2})] == [2]
    assert json.loads(json.dumps(project.path)) == workspace.path
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = project.nonsense
