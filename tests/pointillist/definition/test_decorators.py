"""Every form in which operations, labels, groups and hooks may be declared, those of older projects included."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

import pointillist
from pointillist import FlowProject, aggregator, isfile
from pointillist.definition.registry import Definition, collect
from pointillist.errors import FlowProjectDefinitionError, OverlapError, SelectionError


def new_project(*parents: Any) -> Any:
    class Project(*(parents or (FlowProject,))):
        pass

    return Project


def definition_of(cls: Any) -> Definition:
    return collect(c.__dict__["_registry"] for c in cls.__mro__ if "_registry" in c.__dict__)


def only_operation(cls: Any) -> Any:
    (operation,) = definition_of(cls).operations.values()
    return operation


OLD_FORMS = {
    "cmd": (lambda: pointillist.cmd, lambda o: o.cmd),
    "with_job": (lambda: pointillist.with_job, lambda o: o.with_job),
    "directives": (lambda: pointillist.directives(np=4), lambda o: o.directives == {"np": 4}),
    "aggregator": (lambda: aggregator.groupsof(2), lambda o: not o.aggregator.is_single),
}


@pytest.mark.parametrize("name", OLD_FORMS)
@pytest.mark.parametrize("outermost", [True, False])
def test_older_decorators_may_stand_above_or_below_the_operation(name: str, outermost: bool) -> None:
    project = new_project()
    decorators = [project.operation, OLD_FORMS[name][0]()]

    def work(job):
        pass

    for decorate in decorators if outermost else reversed(decorators):
        assert decorate(work) is work
    assert OLD_FORMS[name][1](only_operation(project))


def test_every_order_of_decorators_means_the_same() -> None:
    for order in itertools.permutations(range(6)):
        project = new_project()
        decorators = [
            project.operation,
            project.pre.isfile("a"),
            project.post.isfile("b"),
            pointillist.cmd,
            pointillist.directives(np=2),
            project.make_group("group"),
        ]

        def work(job):
            pass

        for number in order:
            decorators[number](work)
        definition = definition_of(project)
        (operation,) = definition.operations.values()
        assert (operation.pre, operation.post) == ((isfile("a"),), (isfile("b"),))
        assert operation.cmd
        assert operation.directives == {"np": 2}
        assert list(definition.groups["group"].operations) == ["work"]


def test_with_directives_declares_an_operation() -> None:
    project = new_project()

    @project.operation.with_directives({"np": 3}, name="other")
    def work(job):
        pass

    operation = only_operation(project)
    assert (operation.name, operation.directives) == ("other", {"np": 3})


def test_directives_is_a_decorator_and_a_module() -> None:
    from pointillist.directives import DirectivesError

    assert issubclass(DirectivesError, ValueError)
    assert callable(pointillist.directives)


@pytest.mark.parametrize("kind", ["pre", "post"])
def test_never_is_used_without_a_call_and_holds_for_no_aggregate(kind: str) -> None:
    project = new_project()

    @getattr(project, kind).never
    @project.operation(aggregator=aggregator())
    def work(*jobs):
        pass

    (condition,) = getattr(only_operation(project), kind)
    assert condition() is False


def test_copy_from_and_after_need_operations() -> None:
    for decorate in (lambda p: p.pre.copy_from(len), lambda p: p.post.copy_from(len), lambda p: p.pre.after(len)):
        project = new_project()
        decorate(project)(project.operation("work")(lambda job: None))
        with pytest.raises(FlowProjectDefinitionError, match="not an operation"):
            definition_of(project)


def test_names_declared_twice_are_refused() -> None:
    project = new_project()
    project.operation("a")(lambda job: None)
    with pytest.raises(FlowProjectDefinitionError, match="named a"):
        project.make_group("a")
    project.make_group("g")
    with pytest.raises(FlowProjectDefinitionError, match="two groups"):
        project.make_group("g")
    with pytest.raises(FlowProjectDefinitionError, match="named g"):
        project.operation("g")(lambda job: None)
    child = new_project(project)
    child.operation("a")(lambda job: None)
    with pytest.raises(FlowProjectDefinitionError, match="in its parent"):
        definition_of(child)


def test_with_job_works_on_single_jobs_only() -> None:
    with pytest.raises(FlowProjectDefinitionError, match="with_job"):
        new_project().operation(with_job=True, aggregator=aggregator())(lambda *jobs: None)


class TestGroups:
    def project(self, **options: Any) -> Any:
        project = new_project()
        group = project.make_group("both", **options)

        @group(directives={"np": 8})
        @project.operation(directives={"np": 2, "mem-per-cpu": "2g"})
        def first(job):
            pass

        @group
        @project.operation(directives={"ngpu": 1, "own": True})
        def second(job):
            pass

        @project.operation
        def alone(job):
            pass

        return project

    def test_each_operation_is_a_group_of_its_own_too(self) -> None:
        groups = definition_of(self.project()).groups
        assert {name: list(g.operations) for name, g in groups.items()} == {
            "first": ["first"],
            "second": ["second"],
            "alone": ["alone"],
            "both": ["first", "second"],
        }
        assert groups["both"].isdisjoint(groups["alone"])
        assert not groups["both"].isdisjoint(groups["first"])
        assert groups["both"].operation_directives == {"first": {"np": 8}}

    def test_selecting_a_group_gives_its_aggregator_directives_and_options(self) -> None:
        everyone = aggregator()
        chosen = definition_of(self.project(run_options="--debug", group_aggregator=everyone)).chosen(["both"])
        first, second = chosen.operations.values()
        assert (first.directives, second.directives) == ({"np": 8}, {"ngpu": 1, "own": True})
        assert first.aggregator is second.aggregator is everyone
        assert first.run_options == "--debug"

    def test_without_a_selection_each_operation_counts_once(self) -> None:
        assert list(definition_of(self.project()).chosen().operations) == ["first", "second", "alone"]

    def test_names_are_regular_expressions_in_full(self) -> None:
        definition = definition_of(self.project())
        assert list(definition.chosen(["fir.*|alone"]).operations) == ["first", "alone"]
        with pytest.raises(SelectionError, match="'fir'") as caught:
            definition.chosen(["fir"])
        assert "first" in caught.value.hint

    def test_groups_that_share_an_operation_are_not_selected_together(self) -> None:
        with pytest.raises(OverlapError, match="first and both"):
            definition_of(self.project()).chosen(["first", "both"])
        with pytest.raises(ValueError, match="both hold"):
            definition_of(self.project()).chosen([".*"])

    def test_a_member_that_is_no_operation_is_refused(self) -> None:
        project = new_project()
        project.make_group("g")(lambda job: None)
        with pytest.raises(FlowProjectDefinitionError, match="no operation"):
            definition_of(project)

    def test_twice_in_a_group_is_refused(self) -> None:
        project = new_project()
        group = project.make_group("g")
        work = group(project.operation("work")(lambda job: None))
        with pytest.raises(FlowProjectDefinitionError, match="twice"):
            group(work)

    def test_groups_are_inherited_and_children_may_add_to_them(self) -> None:
        project = self.project()
        child = new_project(project)
        child.operation("more")(lambda job: None)
        assert list(definition_of(child).groups) == ["more", "first", "second", "alone", "both"]


class TestHooks:
    def test_they_hang_on_operations_and_are_inherited(self) -> None:
        project, seen = new_project(), []

        @project.operation_hooks.on_start(lambda name, job: seen.append(("start", name, job)))
        @project.operation_hooks.on_success(lambda name, job: seen.append(("success", name, job)))
        @project.operation_hooks.on_exit(lambda name, job: seen.append(("exit", name, job)))
        @project.operation
        def work(job):
            seen.append("work")

        only_operation(new_project(project)).work(["j"])
        assert seen == [("start", "work", "j"), "work", ("success", "work", "j"), ("exit", "work", "j")]

    def test_an_exception_is_handed_over_and_goes_on(self) -> None:
        project, seen = new_project(), []

        @project.operation_hooks.on_exception(lambda name, error, *jobs: seen.append((name, str(error), jobs)))
        @project.operation_hooks.on_exit(lambda name, *jobs: seen.append("exit"))
        @project.operation(aggregator=aggregator())
        def work(*jobs):
            raise ValueError("no good")

        with pytest.raises(ValueError, match="no good"):
            only_operation(project).work(["j", "k"])
        assert seen == [("work", "no good", ("j", "k")), "exit"]

    def test_an_unknown_event_is_refused(self) -> None:
        with pytest.raises(AttributeError, match="on_start"):
            _ = new_project().operation_hooks.on_monday
