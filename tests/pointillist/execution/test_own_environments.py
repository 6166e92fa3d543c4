"""What environments of users' own may replace of a submission: the way to the scheduler, and what templates know."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest
import signac
from patience import until

from pointillist import FlowProject
from pointillist.cluster.errors import RequestError, SchedulerUnavailable, SubmissionRejected, TemplateError
from pointillist.environment import (
    ComputeEnvironment,
    DefaultSlurmEnvironment,
    LocalEnvironment,
    StandardEnvironment,
    TestEnvironment,
    registered_environments,
)
from pointillist.errors import NoSchedulerError
from pointillist.scheduling.base import ClusterJob, JobStatus, Scheduler

BODY = """
import os
from pointillist.environment import LocalEnvironment

class Own(LocalEnvironment):
    @classmethod
    def submit(cls, script, flags=None, *args, **kwargs):
        script = script.replace("set -e", "set -e\\nexport OWN=seen")
        with open("given", "w") as file:
            file.write(repr((flags, kwargs["hold"], kwargs["_id"])))
        return super().submit(script, [*(flags or []), "--hold"], *args, **kwargs)

@Project.post.isfile("a")
@Project.operation(cmd=True)
def work(job):
    return f"echo $OWN > workspace/{job.id}/a"
"""


class Queue(Scheduler):
    """A queue in the form of signac-flow."""

    waiting: ClassVar[dict[str, str]] = {}

    def jobs(self):
        yield from (ClusterJob(name, JobStatus.queued) for name in self.waiting)

    def submit(self, script, _id=None, **kwargs):
        self.waiting[_id] = script
        return True


class Base(ComputeEnvironment):
    """An environment with such a queue."""

    scheduler_type = Queue
    submit_flags: ClassVar[list[str]] = ["--nice"]


@pytest.fixture(autouse=True)
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue of the test's own."""
    monkeypatch.setenv("POINTILLIST_QUEUE", str(tmp_path / "queue"))
    monkeypatch.setattr(Queue, "waiting", {})


def project_with(environment: Any, workspace: signac.Project) -> Any:
    class Made(FlowProject):
        pass

    Made.operation("work", directives={"np": 3})(lambda job: None)
    return Made(workspace.path, environment=environment, entrypoint={"path": "project.py"})


def test_scripts_go_to_the_scheduler_by_the_environments_own_way(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "Own")
    study = make_study(BODY, {"x": 0})
    (job_id,) = study.make_jobs()
    document = json.loads(study.cli("submit", "--json").stdout)
    (submission,) = document["submissions"]
    assert (study.path / "given").read_text() == repr(([], False, submission["name"]))
    assert "export OWN=seen" in (study.path / submission["script"]).read_text()
    scheduler = LocalEnvironment.get_scheduler()
    assert scheduler.query()[submission["id"]].state.value == "held"
    assert study.cli("submit").stdout == ""  # it is in the queue
    scheduler.release([submission["id"]])
    until((study.job(job_id) / "a").exists)
    assert (study.job(job_id) / "a").read_text() == "seen\n"


def test_a_submission_that_the_environment_refuses_is_not_recorded(workspace: signac.Project) -> None:
    class Closed(Base):
        @classmethod
        def submit(cls, script: str, flags: Any = None, *args: Any, **kwargs: Any) -> Any:
            raise OSError("closed on Sundays")

    class Silent(Base):
        @classmethod
        def submit(cls, script: str, flags: Any = None, *args: Any, **kwargs: Any) -> Any:
            return None

    with pytest.raises(SubmissionRejected, match=r"Closed refused .*: OSError: closed on Sundays"):
        project_with(Closed, workspace).submit(num=1)
    with pytest.raises(SubmissionRejected, match=r"Silent did not hand .* over"):
        project_with(Silent, workspace).submit(num=1)
    assert len(project_with(Base, workspace).submit()) == len(Queue.waiting) == 3


def test_what_an_environment_submits_by_itself_is_found_by_its_name(workspace: signac.Project) -> None:
    class Own(Base):
        @classmethod
        def submit(cls, script: str, flags: Any = None, *args: Any, **kwargs: Any) -> Any:
            return Queue().submit(script, _id=kwargs["_id"])

    project = project_with(Own, workspace)
    with pytest.raises(SchedulerUnavailable, match="is looked for by its name"):
        project.submit(num=1)
    assert len(Queue.waiting) == 1
    assert sorted(project._query_scheduler_status().values()) == [JobStatus.queued]


def test_an_error_after_the_scheduler_has_taken_it_loses_nothing(workspace: signac.Project) -> None:
    class Late(Base):
        @classmethod
        def submit(cls, script: str, flags: Any = None, *args: Any, **kwargs: Any) -> Any:
            super().submit(script, flags, *args, **kwargs)
            raise ValueError("too late")

    assert len(project_with(Late, workspace).submit()) == len(Queue.waiting) == 3


class TestByHand:
    """An environment called by a program."""

    def test_a_script_is_handed_over(self, tmp_path: Path) -> None:
        done = tmp_path / "done"
        script = f"#!/bin/sh\n#LOCAL --name=mine --output={tmp_path / 'out'}\ntouch '{done}'\n"
        assert LocalEnvironment.submit(script, hold=True) is JobStatus.submitted
        ((id_, job),) = LocalEnvironment.get_scheduler().query().items()
        assert (job.name, job.state.value) == ("mine", "held")
        assert LocalEnvironment.submit(script.replace("done", "after"), after=id_) is JobStatus.submitted
        LocalEnvironment.get_scheduler().release([id_])
        until((tmp_path / "after").exists)
        assert done.exists()

    def test_it_may_be_shown_with_the_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Mine(DefaultSlurmEnvironment):
            submit_flags: ClassVar[list[str]] = ["--nice"]

        assert Mine.submit("#!/bin/sh", ["-A", "me"], hold=True, pretend=True) is JobStatus.submitted
        shown = capsys.readouterr().out
        assert shown.startswith("#!/bin/sh\n\n# Submit command: sbatch ")
        assert "--hold --nice -A me" in shown

    def test_it_gets_the_flags_of_its_environment_and_a_name(self) -> None:
        Base.submit("text", ["--flag"], _id="name")
        assert Queue.waiting == {"name": "text"}

    def test_without_a_scheduler_it_can_go_nowhere(self) -> None:
        with pytest.raises(NoSchedulerError):
            StandardEnvironment.submit("text")

    def test_a_trial_environment_prints_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert TestEnvironment.submit("text") is None
        assert capsys.readouterr().out == "text\n"


def test_a_trial_environment_prints_scripts_and_the_tasks_stay(make_study: Any) -> None:
    study = make_study(BODY, {"x": 0})
    env = {**os.environ, "SIGNAC_FLOW_ENVIRONMENT": "TestEnvironment"}
    for _ in range(2):
        assert "run -o work -j" in study.cli("submit", env=env).stdout
    assert json.loads(study.cli("status", "--json", env=env).stdout)["tasks"][0]["state"] == "eligible"
    assert not (study.path / ".pointillist" / "submissions").exists()


def test_a_cluster_job_can_not_be_given_another_name(workspace: signac.Project) -> None:
    for flags in (["--job-name=mine"], ["--job-name", "mine"]):
        with pytest.raises(RequestError, match="can't be chosen"):
            DefaultSlurmEnvironment.submit("text", flags)
        with pytest.raises(RequestError, match="can't be chosen"):
            project_with(Base, workspace).submit(flags=flags)
    assert not Queue.waiting


def test_templates_know_what_the_environment_counts(
    workspace: signac.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    class Counting(Base):
        template = "counting.sh"

        @classmethod
        def _get_scheduler_values(cls, context: Any) -> Any:
            if context.get("partition") == "closed":
                raise ValueError("closed")
            values = super()._get_scheduler_values(context)
            return values | {"tiles": values["ncpu_tasks"] // len(context["operations"])}

    folder = Path(workspace.path, "templates")
    folder.mkdir()
    (folder / "counting.sh").write_text(
        "{{ resources.tiles }} of {{ resources.ncpu_tasks }}, {{ resources.num_nodes }}"
    )
    project = project_with(Counting, workspace)
    project.submit(bundle_size=3, parallel=True, pretend=True)
    assert capsys.readouterr().out.splitlines()[0] == "3 of 9, 1"
    with pytest.raises(TemplateError, match="The environment Counting raised ValueError: closed"):
        project.submit(partition="closed", pretend=True)


def test_environments_are_listed_in_the_order_of_their_definition() -> None:
    class First(ComputeEnvironment):
        pass

    class Second(First):
        pass

    found = registered_environments()
    assert found.index(StandardEnvironment) < found.index(First) < found.index(Second)
