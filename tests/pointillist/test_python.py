"""What programs do with a project besides ``run`` and ``print_status``, in the forms that signac-flow has for it."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject, IgnoreConditions, redirect_log
from pointillist.definition.groups import job_operation_id
from pointillist.environment import DefaultSlurmEnvironment, TestEnvironment
from pointillist.errors import FlowProjectDefinitionError, UserConditionError
from pointillist.hooks import TrackOperations


@pytest.fixture
def cls() -> Any:
    class Project(FlowProject):
        pass

    return Project


def test_a_project_is_found_from_within_and_made_where_there_is_none(
    workspace: signac.Project, cls: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inner, elsewhere = Path(workspace.fn("a/b")), tmp_path_factory.mktemp("elsewhere")
    inner.mkdir(parents=True)
    assert cls.get_project(inner).path == workspace.path
    for wrong in (lambda: cls.get_project(inner, search=False), lambda: cls(elsewhere)):
        with pytest.raises(LookupError, match="no signac project"):
            wrong()
    assert type(cls.init_project(elsewhere)) is cls
    assert signac.get_project(elsewhere).path == str(elsewhere)


def test_operations_and_groups_are_in_the_order_of_their_definition(workspace: signac.Project, cls: Any) -> None:
    for name in "cab":
        cls.operation(name)(lambda job: None)
    cls.operation(lambda job: None, name="called")
    cls.make_group("group")
    project = cls(workspace.path)
    assert list(project.operations) == ["c", "a", "b", "called"]
    assert list(project.groups) == ["c", "a", "b", "called", "group"]


def test_groups_stand_among_operations_and_those_of_parents_come_last(workspace: signac.Project, cls: Any) -> None:
    class Child(cls):
        pass

    cls.operation("of_parent")(lambda job: None)
    Child.make_group("first")
    Child.operation("work")(lambda job: None)
    Child.make_group("last")
    assert list(Child(workspace.path).groups) == ["first", "work", "last", "of_parent"]


def test_a_group_knows_its_operations_and_the_name_of_its_cluster_job(workspace: signac.Project, cls: Any) -> None:
    group = cls.make_group("group")
    for name in ("one", "two"):
        group(cls.operation(name)(lambda job: None))
    project = cls(workspace.path)
    jobs = (next(iter(project)),)
    assert [operation.name for operation in project.groups["group"]] == ["one", "two"]
    for names, of in ((["one", "two"], ()), (["one"], ("one",))):
        expected = job_operation_id("Project", project.path, jobs[0].id, names)
        assert project.groups["group"]._generate_id(jobs, *of) == expected


@pytest.mark.parametrize("order", [3, 1.5, ["x"], "by_job"])
def test_an_order_that_is_none_is_refused_by_its_name(workspace: signac.Project, cls: Any, order: Any) -> None:
    cls.operation(lambda job: None, name="work")
    with pytest.raises(ValueError, match="There is no order") as told:
        cls(workspace.path).run(order=order)
    assert str(order) in str(told.value)
    assert "by-job" in told.value.hint


def test_hooks_of_a_project_are_called_around_those_of_an_operation(workspace: signac.Project, cls: Any) -> None:
    seen: list[str] = []

    @cls.operation_hooks.on_start(lambda name, job: seen.append("start"))
    @cls.operation_hooks.on_success(lambda name, job: seen.append("success"))
    @cls.operation_hooks.on_exception(lambda name, error, job: seen.append(f"exception {error}"))
    @cls.operation_hooks.on_exit(lambda name, job: seen.append("exit"))
    @cls.operation
    def work(job):
        seen.append("work")
        if job.sp.x:
            raise ValueError("no good")

    project = cls(workspace.path)
    for event in ("on_start", "on_success", "on_exit"):
        getattr(project.project_hooks, event).append(lambda name, job, event=event: seen.append(f"all {event}"))
    project.project_hooks.on_exception.append(lambda name, error, job: seen.append(f"all on_exception {error}"))
    project.run(jobs=[workspace.open_job({"x": 0})])
    assert seen == ["all on_start", "start", "work", "all on_success", "success", "all on_exit", "exit"]
    seen.clear()
    with pytest.raises(RuntimeError):
        project.run(jobs=[workspace.open_job({"x": 1})])
    assert seen[3:5] == ["all on_exception no good", "exception no good"]


def test_hooks_of_another_project_are_taken_over(workspace: signac.Project, cls: Any) -> None:
    seen: list[str] = []
    cls.operation("work")(lambda job: None)
    one, other = cls(workspace.path), cls(workspace.path)
    one.project_hooks.on_start.append(lambda name, job: seen.append("own"))
    for event in ("on_start", "on_success", "on_exit"):
        getattr(other.project_hooks, event).append(lambda name, job, event=event: seen.append(event))
    one.project_hooks.update(other.project_hooks)
    one.run(jobs=[workspace.open_job({"x": 0})])
    assert seen == ["own", "on_start", "on_success", "on_exit"]


def test_tracking_must_be_told_the_project(cls: Any) -> None:
    operation = cls.operation("work")(lambda job: None)
    with pytest.raises(FlowProjectDefinitionError, match="project class") as told:
        TrackOperations(strict_git=False).install_operation_hooks(operation)
    assert "install_operation_hooks(Project)" in told.value.hint


def test_a_whole_project_is_tracked_at_once(workspace: signac.Project, cls: Any) -> None:
    for name in ("one", "two"):
        cls.operation(name)(lambda job: None)
    track = TrackOperations(log_filename="own.log", strict_git=False)
    project = cls(workspace.path)
    assert track.install_project_hooks(project) is project
    project.run()
    for job in workspace:
        stages = [(entry["operation"], entry["stage"]) for entry in track.read_log(job, "own.log")]
        assert sorted(stages) == [(name, stage) for name in ("one", "two") for stage in ("after", "prior")]


def test_a_log_goes_to_the_usual_file_in_the_form_and_of_the_logger_that_are_given(workspace: signac.Project) -> None:
    job, logger = next(iter(workspace)), logging.getLogger("of the study")
    with redirect_log(job, formatter=logging.Formatter("<%(message)s>"), logger=logger):
        logger.warning("seen")
        logging.getLogger("another").warning("not seen")
    assert Path(job.fn("run.log")).read_text() == "<seen>\n"


def test_submit_takes_the_keywords_of_the_command_line(
    workspace: signac.Project, cls: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cls.pre.never(cls.operation("work", directives={"walltime": 1})(lambda job: None))
    project = cls(workspace.path, environment=DefaultSlurmEnvironment, entrypoint={"path": "project.py"})
    assert project.submit(pretend=True) == []
    assert capsys.readouterr().out == ""
    project.submit(
        0,
        list(workspace),
        ["w.*"],
        2,
        parallel=True,
        force=True,
        ignore_conditions=IgnoreConditions.PRE,
        ignore_conditions_on_execution=IgnoreConditions.PRE,
        pretend=True,
        hold=True,
        after="17",
        job_output="out.txt",
        partition="long",
        flags=["--qos=low"],
    )
    shown = capsys.readouterr().out
    for words in (
        "#SBATCH --partition=long\n",
        "#SBATCH --output=out.txt\n",
        "#SBATCH --time=01:00:00\n",
        "run -o work --ignore-conditions=pre -j",
        "sbatch --hold --dependency=afterok:17",
        "--qos=low",
    ):
        assert words in shown
    assert shown.count("#!/bin/bash") == 1
    assert shown.count("project.py run -o work") == 2


def test_a_trial_environment_shows_scripts_and_takes_none(
    workspace: signac.Project, cls: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    cls.operation("work")(lambda job: None)
    project = cls(workspace.path, environment=TestEnvironment, entrypoint={"path": "project.py"})
    project.submit(pretend=True)
    assert capsys.readouterr().out.count("run -o work") == 3


def test_all_varying_parameters_have_a_name(workspace: signac.Project, cls: Any) -> None:
    cls.operation("work")(lambda job: None)
    project = cls(workspace.path)
    told = []
    for parameters in (cls.PRINT_STATUS_ALL_VARYING_PARAMETERS, ["x"], None):
        page = io.StringIO()
        project.print_status(detailed=True, parameters=parameters, file=page, err=io.StringIO())
        told.append(page.getvalue())
    assert told[0] == told[1] != told[2]


def test_what_a_condition_raises_is_the_cause_of_the_error(workspace: signac.Project, cls: Any) -> None:
    cls.pre(lambda *jobs: jobs[0].sp.absent)(cls.operation("work")(lambda job: None))
    with pytest.raises(UserConditionError) as caught:
        cls(workspace.path).get_job_status(next(iter(workspace)))
    assert isinstance(caught.value.__cause__, AttributeError)
