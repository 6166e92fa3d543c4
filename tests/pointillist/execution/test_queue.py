"""Schedulers that users have written for signac-flow: submitting to them, and reading their queue."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path
from typing import Any, ClassVar

import pytest
import signac

from pointillist import FlowProject
from pointillist.environment import ComputeEnvironment, StandardEnvironment, _PartitionConfig
from pointillist.errors import SubmitError, TemplateError
from pointillist.scheduling.base import ClusterJob, JobStatus, Scheduler
from pointillist.scheduling.fake_scheduler import FakeScheduler


class Queue(Scheduler):
    waiting: ClassVar[dict[str, str]] = {}
    words = ""

    def jobs(self):
        yield from (ClusterJob(name, JobStatus.queued) for name in self.waiting)

    def submit(self, script, _id=None, **kwargs):
        if self.words:
            raise ValueError(self.words)
        self.waiting[_id] = script
        return JobStatus.submitted

    @classmethod
    def is_present(cls):
        return True


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    workspace = signac.init_project(tmp_path)
    for x in range(3):
        workspace.open_job({"x": x}).init()
    (tmp_path / "project.py").write_text(
        "from pointillist import FlowProject\n"
        "class Project(FlowProject): pass\n"
        "@Project.post.isfile('a')\n"
        "@Project.operation\n"
        "def work(job): open(job.fn('a'), 'w').close()\n"
        "Project.main()\n"
    )

    class Project(FlowProject):
        pass

    Project.post.isfile("a")(Project.operation("work")(lambda job: None))
    environment = type("OwnQueue", (ComputeEnvironment,), {"scheduler_type": Queue})
    monkeypatch.setattr(Queue, "waiting", {})
    return Project(tmp_path, environment=environment, entrypoint={"path": str(tmp_path / "project.py")})


def test_a_scheduler_written_for_signac_flow_takes_scripts(project: Any) -> None:
    assert len(project.submit()) == 3
    assert len(Queue.waiting) == 3
    assert project.submit() == []  # they are in the queue
    for name in list(Queue.waiting):
        subprocess.run(["bash", "-c", Queue.waiting.pop(name)], check=True, capture_output=True)
    assert all(job.isfile("a") for job in project)
    assert project.submit() == []


def test_what_it_refuses_is_told(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Queue, "words", "no room today")
    with pytest.raises(SubmitError, match="no room today"):
        project.submit(num=1)


def test_the_queue_is_one_of_tasks(project: Any) -> None:
    wanted = {operation.id for operation in project._next_operations()}
    project.submit(bundle_size=2)
    assert len(Queue.waiting) == 2
    for scheduler in (Queue(), project._environment.get_scheduler()):
        found = list(project.scheduler_jobs(scheduler))
        assert {job.name() for job in found} == wanted
        assert {job.status() for job in found} == {JobStatus.queued}


def test_bundles_of_signac_flow_are_taken_apart(project: Any) -> None:
    name = "Project/bundle/0a1b"
    path = Path(project.path, ".bundles", name)
    path.parent.mkdir(parents=True)
    path.write_text("first\nsecond\n")
    Queue.waiting.update({name: "", "another": ""})
    assert [job.name() for job in project.scheduler_jobs(Queue())] == ["first", "second", "another"]


def test_a_template_that_refuses_is_a_template_error(project: Any) -> None:
    folder = Path(project.path, "templates")
    folder.mkdir()
    (folder / "script.sh").write_text('{% raise "not on this cluster" %}')
    with pytest.raises(TemplateError, match="not on this cluster"):
        project.submit(pretend=True)


def test_names_have_the_separator_of_the_environment(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project._environment, "JOB_ID_SEPARATOR", "-")
    ids = {operation.id for operation in project._next_operations()}
    project.submit()
    scripts = "".join(Queue.waiting.values())
    assert not any("/" in name for name in [*Queue.waiting, *ids])
    assert {job.name() for job in project.scheduler_jobs(Queue())} == ids
    assert all(name in scripts for name in Queue.waiting)


def test_force_skips_the_check_of_partitions(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = _PartitionConfig(gpus_per_node={"gpu": 4})
    monkeypatch.setattr(project._environment, "_partition_config", config)
    with pytest.raises(SubmitError, match="for jobs that use them"):
        project.submit(partition="gpu")
    assert not Queue.waiting
    assert len(project.submit(partition="gpu", force=True)) == 3


def test_what_is_known_of_the_queue_is_told_by_the_ids_of_tasks(project: Any) -> None:
    ids = {operation.id for operation in project._next_operations()}
    assert project._query_scheduler_status() == project._get_cached_scheduler_status() == {}
    project.submit(bundle_size=2)
    assert project._query_scheduler_status() == dict.fromkeys(ids, JobStatus.queued)
    assert project._get_cached_scheduler_status() == dict.fromkeys(ids, JobStatus.submitted)
    # What is in the queue could run as far as its conditions go.
    assert {operation.id for operation in project._next_operations()} == ids
    assert project.get_job_status(next(iter(project)))["operations"]["work"]["scheduler_status"] == 4


def test_a_queue_that_gives_no_answer_is_told_or_ignored(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any) -> Any:
        raise SubmitError("the queue is closed")

    monkeypatch.setattr(Queue, "jobs", broken)
    with pytest.raises(SubmitError, match="closed"):
        project._query_scheduler_status()
    heard = io.StringIO()
    assert project._query_scheduler_status(heard, ignore_errors=True) == {}
    assert "closed" in heard.getvalue()
    project._environment = StandardEnvironment
    assert project._query_scheduler_status() == {}


def test_a_fake_scheduler_shows_what_it_is_given(project: Any, capsys: pytest.CaptureFixture[str]) -> None:
    project._environment = type("Trial", (ComputeEnvironment,), {"scheduler_type": FakeScheduler})
    assert not FakeScheduler.is_present()
    ids = {operation.id for operation in project._next_operations()}
    for _ in range(2):
        assert project.submit(num=1) == []
        assert "run -o work" in capsys.readouterr().out
    assert {operation.id for operation in project._next_operations()} == ids
    assert not Path(project.state_folder, "submissions").exists()
    assert list(project.scheduler_jobs(FakeScheduler())) == []
