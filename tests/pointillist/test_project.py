"""``FlowProject`` from Python programs and notebooks, with jobs of signac's own."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject, IgnoreConditions, aggregator, classlabel, get_aggregate_id, label, staticlabel
from pointillist.errors import SelectionError, TemplateError, UserConditionError, UserOperationError


class Labelled(FlowProject):
    factor = 2

    @label()
    def mine(self, job):
        return job.sp.x * self.factor == 2

    @label("named")
    def other(self, job):
        return "a text" if job.sp.x == 2 else False

    @staticlabel()
    def plain(job):
        return job.sp.x == 0

    @classlabel()
    def of_class(cls, job):
        return cls.factor == 2 and job.sp.x == 0


@Labelled.label
def with_project(project, job):
    return job in project and job.sp.x == 1


@Labelled.label("word")
def word(job):
    return str(job.sp.x)


@Labelled.post(Labelled.plain)
@Labelled.operation
def uses_a_label(job):
    pass


class LabelledChild(Labelled):
    factor = 1


def new_class(*parents: Any) -> Any:
    class Project(*(parents or (FlowProject,))):
        pass

    return Project


def chain() -> tuple[Any, list[Any]]:
    cls, seen = new_class(), []

    @cls.post(lambda job: job.isfile("a"))
    @cls.operation
    def first(job):
        seen.append(("first", job.sp.x))
        Path(job.fn("a")).touch()

    @cls.pre.after(first)
    @cls.operation
    def second(job):
        seen.append(("second", job.sp.x))

    return cls, seen


def test_labels_in_every_form(workspace: signac.Project) -> None:
    project = Labelled(workspace.path)
    worn = {job.sp.x: sorted(project.labels(job)) for job in workspace}
    assert worn == {0: ["0", "of_class", "plain"], 1: ["1", "mine", "with_project"], 2: ["2", "a text"]}
    child = LabelledChild(workspace.path)
    assert "mine" in child.labels(workspace.open_job({"x": 2}))
    assert list(project.completed_operations(workspace.open_job({"x": 0}))) == ["uses_a_label"]


def test_a_type_error_in_a_label_is_told(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.label
    def wrong(job):
        return len(job.sp.x)

    with pytest.raises(UserConditionError, match="TypeError"):
        list(cls(workspace.path).labels(workspace.open_job({"x": 0})))


def test_the_job_of_an_operation_knows_its_project(workspace: signac.Project) -> None:
    cls, seen = new_class(), []

    @cls.operation
    def work(job):
        seen.append((job.project, len(job.project.find_jobs({"x": 0})), job._project is job.project))

    project = cls(workspace.path)
    project.run(jobs=[project.open_job({"x": 1})])
    assert seen == [(project, 1, True)]
    assert all(job.project is project for job in project)


def test_a_project_may_open_and_find_its_jobs_in_its_own_way(workspace: signac.Project) -> None:
    class Own(new_class()):  # type: ignore[misc]
        def open_job(self, *arguments: Any, **options: Any) -> Any:
            job = super().open_job(*arguments, **options)
            job.doc.setdefault("opened", True)
            return job

        def find_jobs(self, *arguments: Any, **options: Any) -> list[Any]:
            return list(super().find_jobs(*arguments, **options))

    seen = []

    @Own.post.true("done")
    @Own.operation
    def work(job: Any) -> None:
        job.doc.done = job.doc.opened
        seen.append(type(job.project))

    project = Own(workspace.path)
    project.run()
    assert seen == [Own] * len(workspace)
    assert [job.doc() for job in workspace] == [{"opened": True, "done": True}] * len(workspace)
    assert [job.sp.x for job in project.find_jobs({"x": 1})] == [1]
    assert project.open_job({"x": 99}).doc.opened


def test_jobs_of_a_plain_signac_project_are_welcome(workspace: signac.Project) -> None:
    cls, seen = chain()
    project = cls(workspace.path)
    job = workspace.open_job({"x": 1})
    project.run(jobs=[job], names=["first"])
    assert seen == [("first", 1)]
    assert list(project.completed_operations(job)) == ["first"]
    assert project.get_job_status(job)["operations"]["second"]["eligible"]
    assert job in project


def test_an_unknown_job_or_aggregate_is_a_lookup_error(workspace: signac.Project) -> None:
    cls, _ = chain()
    project = cls(workspace.path)
    with pytest.raises(LookupError, match="no job"):
        project.run(jobs=[workspace.open_job({"x": 99})])
    with pytest.raises(LookupError):
        project.run(jobs=[tuple(workspace)])
    with pytest.raises(SelectionError, match="not in the workspace"):
        project.get_job_status(workspace.open_job({"x": 99}))


def test_job_status_has_the_form_of_signac_flow(workspace: signac.Project) -> None:
    cls, _ = chain()
    cls.label("zero")(lambda job: job.sp.x == 0)
    job = workspace.open_job({"x": 0})
    status = cls(workspace.path).get_job_status(job, cached_status={})
    assert status == {
        "job_id": job.id,
        "operations": {
            "first": {"scheduler_status": 1, "eligible": True, "completed": False},
            "second": {"scheduler_status": 1, "eligible": False, "completed": False},
        },
        "_operations_error": None,
        "labels": ["zero"],
        "_labels_error": None,
    }


def test_job_status_remembers_what_signac_flow_knew_of_the_queue(workspace: signac.Project) -> None:
    cls, _ = chain()
    project, job = cls(workspace.path), workspace.open_job({"x": 0})
    (operation,) = project._next_operations(jobs=[job])
    workspace.document["_status"] = {operation.id: 6}
    assert project.get_job_status(job)["operations"]["first"]["scheduler_status"] == 6


def test_job_status_may_hold_errors(workspace: signac.Project) -> None:
    cls = new_class()
    cls.post(lambda job: 1 / 0)(cls.operation("work")(lambda job: None))
    cls.label("bad")(lambda job: job.nothing)
    project, job = cls(workspace.path), workspace.open_job({"x": 0})
    with pytest.raises(UserConditionError):
        project.get_job_status(job)
    status = project.get_job_status(job, ignore_errors=True)
    assert "ZeroDivisionError" in status["_operations_error"]
    assert "AttributeError" in status["_labels_error"]


def test_status_of_a_job_leaves_out_operations_on_several_jobs(workspace: signac.Project) -> None:
    cls, _ = chain()
    cls.operation("all", aggregator=aggregator())(lambda *jobs: None)
    assert list(cls(workspace.path).get_job_status(workspace.open_job({"x": 0}))["operations"]) == ["first", "second"]


def test_job_operations_mean_what_they_mean_to_signac_flow(workspace: signac.Project) -> None:
    cls, _ = chain()
    cls.operation("a_very_long_operation_name", aggregator=aggregator())(lambda *jobs: None)
    project = cls(workspace.path, entrypoint={"executable": "py", "path": "p.py"})
    operations = list(project._next_operations())
    assert [o.name for o in operations] == ["first"] * 3 + ["a_very_long_operation_name"]
    for operation in operations:
        known_as = get_aggregate_id(operation._jobs)
        digest = hashlib.md5(f"{project.path}%{known_as}%{operation.name}".encode()).hexdigest()
        assert operation.id == f"Project/{known_as}/{operation.name[:12]}/{digest}"
        assert len(operation.id) <= 100
        assert operation.directives["np"] == 1
        assert operation.cmd.endswith(f" p.py exec {operation.name} {known_as}")


def test_graph_of_operations(workspace: signac.Project) -> None:
    cls = new_class()

    @cls.post(lambda job: job.doc.a)
    @cls.operation
    def a(job):
        pass

    @cls.pre.after(a)
    @cls.post(lambda job: job.doc.b)
    @cls.operation
    def b(job):
        pass

    @cls.pre(lambda job: job.doc.b)
    @cls.pre.not_(lambda job: job.doc.a)
    @cls.operation
    def c(job):
        pass

    # `doc.a` and `doc.b` are different claims, though their bytecode is the same.
    assert cls(workspace.path).detect_operation_graph() == [[0, 1, 0], [0, 0, 1], [0, 0, 0]]


def test_conditions_without_code_need_a_tag_for_the_graph(workspace: signac.Project) -> None:
    import functools

    cls = new_class()
    partial = functools.partial(lambda key, job: False, "k")
    cls.post(partial)(cls.operation("a")(lambda job: None))
    with pytest.raises(RuntimeError, match="tag"):
        cls(workspace.path).detect_operation_graph()
    cls = new_class()
    cls.post(partial, tag="k")(cls.operation("a")(lambda job: None))
    cls.pre(partial, tag="k")(cls.operation("b")(lambda job: None))
    assert cls(workspace.path).detect_operation_graph() == [[0, 1], [0, 0]]


class TestRun:
    def test_names_orders_and_numbers(self, workspace: signac.Project) -> None:
        cls, seen = chain()
        cls(workspace.path).run(order="cyclic", num=4)
        assert [name for name, _ in seen] == ["first", "first", "first", "second"]

    def test_order_is_a_key_of_job_operations(self, workspace: signac.Project) -> None:
        cls, seen = chain()
        cls(workspace.path).run(names=["first"], order=lambda operation: -operation._jobs[0].sp.x)
        assert seen == [("first", 2), ("first", 1), ("first", 0)]

    def test_by_job_finishes_a_job_before_the_next(self, workspace: signac.Project) -> None:
        cls, seen = chain()
        cls(workspace.path).run(order="by-job")
        assert [name for name, _ in seen] == ["first", "second"] * 3

    def test_passes(self, workspace: signac.Project) -> None:
        cls, seen = new_class(), []
        cls.operation("again")(lambda job: seen.append(job.sp.x))
        cls(workspace.path).run(num_passes=3)
        assert sorted(seen) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
        cls(workspace.path).run(num_passes=-1, num=5)
        assert len(seen) == 14

    def test_all_cores_are_those_that_this_process_may_use(
        self, workspace: signac.Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def work(job: Any) -> None:
            job.doc.began = time.time()
            time.sleep(0.1)
            job.doc.ended = time.time()

        monkeypatch.setattr(os, "cpu_count", lambda: 3)
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0})
        cls = new_class()
        cls.operation("work")(work)
        cls(workspace.path).run(np=-1)
        one, two, three = sorted((job.doc.began, job.doc.ended) for job in workspace)
        assert one[1] <= two[0] < two[1] <= three[0]

    def test_ignored_conditions(self, workspace: signac.Project) -> None:
        cls, seen = chain()
        project = cls(workspace.path)
        project.run(names=["second"], ignore_conditions=IgnoreConditions.PRE)
        assert [name for name, _ in seen] == ["second"] * 3
        project.run(names=["first"])
        project.run(names=["first"], ignore_conditions=IgnoreConditions.POST)
        assert [name for name, _ in seen] == ["second"] * 3 + ["first"] * 6
        with pytest.raises(ValueError, match="IgnoreConditions"):
            project.run(ignore_conditions="pre")

    def test_pretend_prints_lines_and_runs_nothing(self, workspace: signac.Project, capsys: Any) -> None:
        cls, seen = chain()
        cls(workspace.path).run(pretend=True, num=2)
        assert len(capsys.readouterr().out.splitlines()) == 2
        assert not seen

    def test_timeout_ends_the_task(self, workspace: signac.Project) -> None:
        cls = new_class()
        cls.operation("slow", cmd=True)(lambda job: "sleep 60" if job.sp.x == 0 else "true")
        with pytest.raises(UserOperationError, match=r"longer than 0.5 s"):
            cls(workspace.path).run(timeout=0.5)

    def test_groups_run_on_their_aggregates(self, workspace: signac.Project) -> None:
        cls, seen = new_class(), []
        group = cls.make_group("both", group_aggregator=aggregator())
        group(cls.operation("one")(lambda *jobs: seen.append(("one", len(jobs)))))
        group(cls.operation("two")(lambda *jobs: seen.append(("two", len(jobs)))))
        project = cls(workspace.path)
        project.run(names=["both"], order="cyclic")
        assert seen == [("one", 3), ("two", 3)]
        with pytest.raises(ValueError, match="both hold"):
            project.run(names=["one", "both"])


def test_ignore_conditions_combine() -> None:
    flags = IgnoreConditions
    assert (flags.PRE | flags.POST) is flags.ALL
    assert ~flags.PRE is flags.POST
    assert ~flags.NONE is flags.ALL
    assert [str(flag) for flag in (flags.NONE, flags.PRE, flags.POST, flags.ALL)] == ["none", "pre", "post", "all"]


def test_the_project_document_is_signacs(workspace: signac.Project) -> None:
    project = new_class()(workspace.path)
    project.doc.note = 1
    assert signac.Project(workspace.path).doc.note == 1
    project.document = {"other": 2}
    assert signac.Project(workspace.path).doc() == {"other": 2}


def test_a_project_travels_through_pickle(workspace: signac.Project) -> None:
    project = Labelled(workspace.path)
    again = pickle.loads(pickle.dumps(project))
    assert again == project
    job = pickle.loads(pickle.dumps(project.open_job({"x": 1})))
    assert job.sp.x == 1


def test_an_environment_may_be_given(workspace: signac.Project) -> None:
    from pointillist.environment import ComputeEnvironment, StandardEnvironment

    cls, _ = chain()
    assert cls(workspace.path, environment=StandardEnvironment)._environment is StandardEnvironment
    assert issubclass(cls(workspace.path)._environment, ComputeEnvironment)


def test_status_takes_the_form_of_a_template(workspace: signac.Project) -> None:
    cls, _ = chain()
    project = cls(workspace.path)
    folder = Path(workspace.path) / "templates"
    folder.mkdir()
    (folder / "short.txt").write_text(
        "{{ jobs }} jobs\n{% for task in tasks if task.state == 'eligible' %}\n{{ task.operation }}\n{% endfor %}"
    )
    heard = io.StringIO()
    project.print_status(template="short.txt", file=heard)
    assert heard.getvalue().split() == [str(len(project)), "jobs", *["first"] * len(project)]
    with pytest.raises(TemplateError, match=r"no template 'long\.txt'"):
        project.print_status(template="long.txt")
    (folder / "short.txt").write_text("{{ jobs")
    with pytest.raises(TemplateError, match=r"template 'short\.txt'"):
        project.print_status(template="short.txt")
