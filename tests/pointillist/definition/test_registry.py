from __future__ import annotations

from typing import Any

import pytest

from pointillist import FlowProject, isfile
from pointillist.definition.registry import Definition, collect
from pointillist.errors import FlowProjectDefinitionError


def new_project() -> Any:
    class Project(FlowProject):
        pass

    return Project


def definition_of(cls: Any) -> Definition:
    return collect(c.__dict__["_registry"] for c in cls.__mro__ if "_registry" in c.__dict__)


def test_operation_may_be_the_innermost_or_the_outermost_decorator() -> None:
    project = new_project()

    @project.pre.isfile("a")
    @project.post.isfile("b")
    @project.operation
    def innermost(job):
        pass

    @project.operation
    @project.pre.isfile("a")
    @project.post.isfile("b")
    def outermost(job):
        pass

    for operation in definition_of(project).operations.values():
        assert (operation.pre, operation.post) == ((isfile("a"),), (isfile("b"),))


@pytest.mark.parametrize("declare", ["plain", "called", "named", "keyword"])
def test_operation_is_declared_in_every_form(declare: str) -> None:
    project = new_project()
    decorator = {
        "plain": lambda: project.operation,
        "called": lambda: project.operation(),
        "named": lambda: project.operation("other"),
        "keyword": lambda: project.operation(name="other", cmd=True),
    }[declare]()

    @decorator
    def work(job):
        pass

    (operation,) = definition_of(project).operations.values()
    assert operation.name == ("work" if declare in ("plain", "called") else "other")
    assert operation.function is work


def test_conditions_are_asked_in_the_order_they_are_written() -> None:
    project = new_project()

    @project.pre.isfile("first")
    @project.pre.isfile("second")
    @project.operation
    def work(job):
        pass

    assert definition_of(project).operations["work"].pre == (isfile("first"), isfile("second"))


def test_subclass_inherits_operations_and_adds_conditions() -> None:
    parent = new_project()

    @parent.post.isfile("parent")
    @parent.operation
    def work(job):
        pass

    class Child(parent):
        pass

    Child.post.isfile("child")(work)
    assert definition_of(Child).operations["work"].post == (isfile("child"), isfile("parent"))
    assert definition_of(parent).operations["work"].post == (isfile("parent"),)


def test_label_takes_functions_and_conditions() -> None:
    project = new_project()
    done = project.label("done")(isfile("a"))

    @project.label
    def big(job):
        return True

    assert [label.name for label in definition_of(project).labels] == ["done", "big"]
    assert done == isfile("a")


@pytest.mark.parametrize(
    ("declare", "message"),
    [
        (lambda p: [p.operation("a")(lambda job: 0), p.operation("a")(lambda job: 1)], "two operations named a"),
        (lambda p: p.label(isfile("x")), "needs a name"),
        (lambda p: p.operation("a", batch=0)(lambda job: 0), None),
        (lambda p: p.operation("a", batch=True, with_job=True)(lambda job: 0), None),
        (lambda p: p.pre.after(len)(p.operation("a")(lambda job: 0)), None),
    ],
)
def test_impossible_declarations_are_refused(declare: Any, message: str | None) -> None:
    project = new_project()
    with pytest.raises(FlowProjectDefinitionError, match=message):
        definition_of((declare(project), project)[1])


def test_an_operation_is_no_condition_and_a_condition_no_operation() -> None:
    project = new_project()

    def claim(job):
        return True

    @project.post(claim)
    @project.operation
    def work(job):
        pass

    with pytest.raises(FlowProjectDefinitionError, match=r"pre\.after|can't be a condition"):
        project.pre(work)
    with pytest.raises(FlowProjectDefinitionError, match="used as a condition"):
        project.operation(claim)


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_what_is_no_function_of_jobs_is_no_condition(kind: str) -> None:
    decorate = getattr(new_project(), kind)
    for declare in (decorate, decorate.not_):
        with pytest.raises(FlowProjectDefinitionError, match="'done' can't be a condition"):
            declare("done")


@pytest.mark.parametrize("kind", ["pre", "post"])
@pytest.mark.parametrize("name", ["isfile", "true", "false", "has_keys"])
def test_condition_without_what_to_look_for_is_refused(kind: str, name: str) -> None:
    project = new_project()
    with pytest.raises(FlowProjectDefinitionError, match=f"The condition {name} of work does not say what to look for"):

        @getattr(getattr(project, kind), name)
        @project.operation
        def work(job):
            pass


def test_conditions_of_what_is_no_operation_are_refused() -> None:
    project = new_project()

    @project.post.isfile("a")
    def forgotten(job):
        pass

    with pytest.raises(FlowProjectDefinitionError, match="forgotten has conditions, but it is no operation"):
        definition_of(project)
    project.operation(forgotten)
    assert list(definition_of(project).operations) == ["forgotten"]


def test_hooks_of_what_is_no_operation_are_mentioned_once() -> None:
    project = new_project()

    @project.operation_hooks.on_start(print)
    @project.operation_hooks.on_exit(print)
    def forgotten(job):
        pass

    with pytest.warns(UserWarning, match="forgotten has hooks, which nobody calls") as told:
        assert definition_of(project).operations == {}
    assert len(told) == 1
    project.operation(forgotten)
    assert list(definition_of(project).operations) == ["forgotten"]


def test_conditions_that_a_parent_has_for_an_operation_of_one_subclass_are_no_matter_for_others() -> None:
    parent = new_project()
    one, other = type("One", (parent,), {}), type("Other", (parent,), {})

    @parent.pre.isfile("a")
    @one.operation
    def work(job):
        pass

    assert definition_of(one).operations["work"].pre == (isfile("a"),)
    assert definition_of(other).operations == definition_of(parent).operations == {}


def test_conditions_copied_from_themselves_are_refused() -> None:
    project = new_project()

    @project.operation
    def first(job):
        pass

    @project.pre.copy_from(first)
    @project.operation
    def second(job):
        pass

    @project.pre.copy_from(second)
    @project.pre.copy_from(first)
    @project.operation
    def third(job):
        pass

    assert list(definition_of(project).operations) == ["first", "second", "third"]
    project.pre.copy_from(third)(first)
    with pytest.raises(
        FlowProjectDefinitionError,
        match="pre-conditions of first are copied from third from second from first: from themselves",
    ):
        definition_of(project)
