"""Names, call shapes and answers of signac-flow 0.29 that ordinary projects lean on, each as it was found there."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject, IgnoreConditions, aggregator, has_keys, isfile
from pointillist.errors import (
    DirectivesError,
    FlowProjectDefinitionError,
    UserConditionError,
    UserOperationError,
)


@pytest.fixture
def cls() -> Any:
    class Project(FlowProject):
        pass

    return Project


def raising(*jobs: Any) -> bool:
    raise KeyError("nothing")


class TestOperations:
    def test_with_job_enters_the_folder_also_when_the_function_is_called(
        self, workspace: signac.Project, cls: Any
    ) -> None:
        @cls.operation(with_job=True)
        def python(job):
            return os.getcwd()

        @cls.operation(cmd=True, with_job=True)
        def shell(job):
            return "make"

        job = next(iter(workspace))
        operations = cls(workspace.path).operations
        for call in (python, operations["python"]):
            assert os.path.samefile(call(job), job.path)
        for call in (shell, operations["shell"]):
            assert call(job) == f"cd {shlex.quote(job.path)} && make"
        assert python.__name__ == "python"

    def test_what_with_job_returns_is_the_operation_to_all_other_decorators(
        self, workspace: signac.Project, cls: Any
    ) -> None:
        seen: list[Any] = []
        group = cls.make_group("group")

        @group
        @cls.operation_hooks.on_start(lambda name, job: seen.append(name))
        @cls.post.isfile("done")
        @cls.operation(with_job=True)
        def first(job):
            Path("done").touch()

        @cls.pre.copy_from(first)
        @cls.pre.after(first)
        @cls.operation
        def second(job):
            seen.append(job.isfile("done"))

        with pytest.raises(FlowProjectDefinitionError, match="twice"):
            cls.operation(first, name="again")
        with pytest.raises(FlowProjectDefinitionError, match="can't be a condition"):
            cls.pre(first)
        project = cls(workspace.path)
        assert list(project.groups["group"].operations) == ["first"]
        project.run()
        assert sorted(map(str, seen)) == ["True"] * 3 + ["first"] * 3

    @pytest.mark.parametrize(
        ("declare", "error"),
        [
            (lambda p: p.operation("a", directives=3), DirectivesError),
            (lambda p: p.operation("a", aggregator=3), FlowProjectDefinitionError),
            (lambda p: p.make_group("g", group_aggregator="all"), FlowProjectDefinitionError),
            (lambda p: p.make_group("g")(directives="np=4")(len), DirectivesError),
        ],
    )
    def test_options_of_a_wrong_kind_are_refused_where_they_stand(self, cls: Any, declare: Any, error: Any) -> None:
        with pytest.raises(error, match="can't be"):
            declare(cls)

    def test_a_group_of_one_knows_the_directives_of_its_operation(self, workspace: signac.Project, cls: Any) -> None:
        cls.operation("work", directives={"np": 2})(lambda job: None)
        assert cls(workspace.path).groups["work"].operation_directives == {"work": {"np": 2}}

    @pytest.mark.parametrize(
        ("directives", "cmd", "line"),
        [
            ({"nranks": 2}, False, "mpiexec -n 2 py p.py exec a {id}"),
            ({"omp_num_threads": 3, "nranks": 2}, True, "export OMP_NUM_THREADS=3; mpiexec -n 2 echo"),
            ({"executable": "own"}, False, "own p.py exec a {id}"),
        ],
    )
    def test_the_line_of_a_job_operation_has_its_prefix(
        self, workspace: signac.Project, cls: Any, directives: Any, cmd: bool, line: str
    ) -> None:
        directives = {"executable": "py"} | directives
        cls.operation("a", cmd=cmd, directives=directives)(lambda job: "echo")
        project = cls(workspace.path, entrypoint={"path": "p.py"})
        for operation in project._next_operations():
            assert operation.cmd == line.format(id=operation._jobs[0].id)


def test_labels_of_one_name_are_both_asked(workspace: signac.Project, cls: Any) -> None:
    cls.label("fine")(lambda job: job.sp.x == 0)
    cls.label("fine")(lambda job: "finer" if job.sp.x == 1 else None)
    project = cls(workspace.path)
    assert {job.sp.x: project.get_job_status(job)["labels"] for job in workspace} == {0: ["fine"], 1: ["finer"], 2: []}


def test_a_file_may_have_an_absolute_path_or_be_a_path_object(workspace: signac.Project, cls: Any) -> None:
    shared = Path(workspace.fn("shared.json"))
    shared.write_text('{"key": 1}')
    Path(workspace.open_job({"x": 0}).fn("own")).touch()
    cls.post.isfile(str(shared))(cls.operation("absolute")(lambda job: None))
    cls.post(has_keys(shared, "key"))(cls.operation("content")(lambda job: None))
    cls.post(isfile(Path("own")))(cls.operation("path")(lambda job: None))
    cls.post.isfile(shared.with_name("gone"))(cls.operation("gone")(lambda job: None))
    project = cls(workspace.path)
    eligible = sorted((o.name, o._jobs[0].sp.x) for o in project._next_operations())
    assert eligible == [("gone", 0), ("gone", 1), ("gone", 2), ("path", 1), ("path", 2)]


def test_get_job_is_there_before_there_is_a_project(workspace: signac.Project, cls: Any) -> None:
    job = next(iter(workspace))
    assert cls.get_job(job.path) == job


class TestRun:
    @pytest.mark.parametrize(
        ("options", "times"),
        [
            ({"num": -1}, 3),
            ({"timeout": -1}, 3),
            ({"num": 0}, 0),
            ({"num_passes": 0}, 0),
            ({"num_passes": None, "num": 7}, 7),
            ({"num_passes": -1, "num": 7}, 7),
            ({"jobs": []}, 0),
            ({"names": []}, 0),
        ],
    )
    def test_how_often(self, workspace: signac.Project, cls: Any, options: Any, times: int) -> None:
        seen: list[int] = []
        cls.operation("work")(lambda job: seen.append(job.sp.x))
        cls(workspace.path).run(**options)
        assert len(seen) == times

    def test_no_limit_is_no_limit_for_pretended_lines_either(
        self, workspace: signac.Project, cls: Any, capsys: Any
    ) -> None:
        cls.operation("work")(lambda job: None)
        cls(workspace.path).run(pretend=True, num=-1)
        assert len(capsys.readouterr().out.splitlines()) == 3

    @pytest.mark.parametrize("order", [None, "none", "by-job", "cyclic"])
    def test_operations_that_wait_for_nothing_run_in_the_order_of_their_definition(
        self, workspace: signac.Project, cls: Any, order: str | None
    ) -> None:
        seen: dict[int, list[str]] = {}
        for name in "cab":
            cls.operation(name)(lambda job, name=name: seen.setdefault(job.sp.x, []).append(name))
        cls(workspace.path).run(order=order)
        assert seen == {x: ["c", "a", "b"] for x in range(3)}

    @pytest.mark.parametrize("link", ["after", "same condition"])
    def test_results_come_early_where_operations_wait_for_each_other(
        self, workspace: signac.Project, cls: Any, link: str
    ) -> None:
        seen: list[str] = []

        @cls.post.isfile("a")
        @cls.operation
        def first(job):
            seen.append("first")
            Path(job.fn("a")).touch()

        condition = cls.pre.after(first) if link == "after" else cls.pre.isfile("a")

        @condition
        @cls.operation
        def second(job):
            seen.append("second")

        cls(workspace.path).run()
        assert seen == ["first", "second"] * 3

    def test_cyclic_gives_each_job_its_turn(self, workspace: signac.Project, cls: Any) -> None:
        seen: list[str] = []
        for name in "ab":
            cls.operation(name)(lambda job, name=name: seen.append(name))
        cls(workspace.path).run(order="cyclic")
        assert seen == ["a", "a", "a", "b", "b", "b"]

    @pytest.mark.parametrize("jobs", [["x"], [3], [("x",)]])
    def test_what_is_no_job_is_a_type_error(self, workspace: signac.Project, cls: Any, jobs: Any) -> None:
        cls.operation("work")(lambda job: None)
        with pytest.raises(TypeError, match="jobs must hold signac jobs"):
            cls(workspace.path).run(jobs=jobs)

    def test_the_users_own_error_is_the_cause_of_ours(self, workspace: signac.Project, cls: Any) -> None:
        def work(job):
            raise ZeroDivisionError("no good")

        cls.operation(work)
        with pytest.raises(UserOperationError) as caught:
            cls(workspace.path).run()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)

    @pytest.mark.parametrize(
        ("command", "cause"),
        [(lambda job: "exit 3", subprocess.CalledProcessError), (lambda job: 1 / 0, ArithmeticError)],
    )
    def test_the_cause_of_a_shell_operations_error_is_its_exit_code_or_what_its_function_raised(
        self, workspace: signac.Project, cls: Any, command: Callable[[Any], Any], cause: type
    ) -> None:
        cls.operation("work", cmd=True)(command)
        with pytest.raises(UserOperationError) as caught:
            cls(workspace.path).run()
        assert isinstance(caught.value.__cause__, cause)
        assert getattr(caught.value.__cause__, "returncode", 3) == 3

    @pytest.mark.parametrize(
        "declare",
        [
            lambda cls: cls.post(raising)(cls.operation("bad")(lambda job: None)),
            lambda cls: cls.pre(raising)(cls.operation("bad", aggregator=aggregator())(lambda *jobs: None)),
            lambda cls: cls.operation("bad", aggregator=aggregator.groupby("absent"))(lambda *jobs: None),
            lambda cls: cls.operation("bad", aggregator=aggregator(select=raising))(lambda *jobs: None),
        ],
    )
    def test_what_could_not_be_decided_is_raised_when_the_others_have_run(
        self, workspace: signac.Project, cls: Any, declare: Callable[[Any], Any]
    ) -> None:
        seen: list[int] = []
        declare(cls)
        cls.operation("good")(lambda job: seen.append(job.sp.x))
        project = cls(workspace.path)
        with pytest.raises(UserConditionError) as caught:
            project.run()
        assert isinstance(caught.value.__cause__, KeyError)
        assert sorted(seen) == [0, 1, 2]
        project.run(names=["good"])  # nothing of what is asked for is in doubt
        with pytest.raises(UserConditionError):
            list(project._next_operations())
        assert len(list(project._next_operations(operation_names=["good"]))) == 3

    def test_a_job_that_can_not_be_read_is_named(
        self, workspace: signac.Project, cls: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        cls.operation("work")(lambda job: None)
        damaged, *_ = workspace
        Path(damaged.fn("signac_statepoint.json")).write_text("{")
        cls(workspace.path).run()
        assert f"Left out: Job {damaged.id}" in capsys.readouterr().err

    def test_ignored_conditions_are_members_by_every_name(self) -> None:
        assert [IgnoreConditions.of(word) for word in ("none", "pre", "post", "all")] == [0, 1, 2, 3]


def test_a_traceback_says_what_to_do_next(cls: Any) -> None:
    cls.operation("a")(lambda job: None)
    with pytest.raises(FlowProjectDefinitionError) as caught:
        cls.operation("a")(lambda job: None)
    assert caught.value.__notes__ == [caught.value.hint]


class TestGroups:
    def test_groups_are_made_of_operations_that_programs_can_add(self, workspace: signac.Project, cls: Any) -> None:
        group = cls.make_group("pair", submit_options="-s", run_options="-r")

        @group
        @cls.operation
        def one(job):
            pass

        @cls.operation
        def other(job):
            pass

        project = cls(workspace.path)
        pair, single = project.groups["pair"], project.groups["other"]
        assert list(pair.operations) == ["one"]
        assert (pair.submit_options, pair.run_options, pair.MAX_LEN_ID) == ("-s", "-r", 100)
        assert pair.isdisjoint(single)
        pair.add_operation("other", project.operations["other"], {"np": 3})
        assert list(pair.operations) == ["one", "other"]
        assert pair.operation_directives["other"] == {"np": 3}
        assert not pair.isdisjoint(single)
