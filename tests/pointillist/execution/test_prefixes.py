"""The compute environment says what starts the ranks of a task, whichever way the task is started or shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import FlowProject
from pointillist.cluster import environments as environments_module
from pointillist.environment import ComputeEnvironment, DefaultSlurmEnvironment, StandardEnvironment, template_filter
from pointillist.errors import UserOperationError

STARTER = """\
#!/bin/sh
echo "called with $*" >> {log}
[ "$1" = -n ] && shift 2
exec "$@"
"""

BODY = """
import os
from pointillist.environment import ComputeEnvironment

class Ours(ComputeEnvironment):
    mpi_cmd = {starter!r}
    {more}

    @classmethod
    def is_present(cls):
        with open({asked!r}, "a") as file:
            file.write("asked\\n")
        return True

@Project.post.isfile("shell")
@Project.operation(cmd=True, directives={{"nranks": 2}})
def shell(job):
    return f"touch workspace/{{job.id}}/shell"

@Project.post.isfile("python")
@Project.operation(directives={{"nranks": 2, "omp_num_threads": 3}})
def python(job):
    open(job.fn("python"), "w").close()

@Project.post.isfile("plain")
@Project.operation
def plain(job):
    with open(job.fn("plain"), "w") as file:
        file.write(os.environ.get("OPERATION", "") + os.environ.get("JOB", ""))
"""

OWN_PREFIX = """
    @classmethod
    def get_prefix(cls, operation, parallel=False, mpi_prefix=None, cmd_prefix=None):
        return f"env OPERATION={operation.name} JOB={operation._jobs[0].id}"
"""


@pytest.fixture(autouse=True)
def detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing names an environment beforehand."""
    for variable in (*environments_module.VARIABLES, environments_module.SUBMITTED_FROM_VARIABLE):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def ours(make_study: Any, tmp_path: Path) -> Any:
    """Return a factory of studies on a machine whose ranks are started by a program that logs its arguments."""
    starter = tmp_path / "starter"
    starter.write_text(STARTER.format(log=tmp_path / "log"))
    starter.chmod(0o755)

    def make(more: str = "") -> Any:
        body = BODY.format(starter=str(starter), more=more.strip(), asked=str(tmp_path / "asked"))
        return make_study(body, {"x": 0})

    return make


@pytest.mark.parametrize("words", [["run"], ["run", "--parallel", "2", "--cores", "8"]])
def test_run_starts_ranks_as_the_environment_says(ours: Any, tmp_path: Path, words: list[str]) -> None:
    study = ours()
    (job_id,) = study.make_jobs()
    study.cli(*words)
    assert sorted((tmp_path / "log").read_text().splitlines()) == [
        f"called with -n 2 {sys.executable} {study.path / 'project.py'} exec python {job_id}",
        f"called with -n 2 touch workspace/{job_id}/shell",
    ]


def test_what_is_shown_is_what_would_be_started(ours: Any, tmp_path: Path) -> None:
    study = ours()
    (job_id,) = study.make_jobs()
    shown = study.cli("run", "--pretend").stdout
    starter = tmp_path / "starter"
    assert f"{starter} -n 2 touch workspace/{job_id}/shell\n" in shown
    assert f"export OMP_NUM_THREADS=3; {starter} -n 2 {sys.executable} {study.path / 'project.py'} exec python" in shown
    assert json.loads(study.cli("run", "--pretend", "--json").stdout)["commands"] == shown.splitlines()


def test_no_environment_is_chosen_for_tasks_without_ranks(ours: Any, tmp_path: Path) -> None:
    study = ours()
    study.cli("run", "-o", "plain")
    assert study.cli("status", "--completed").stdout.count("plain") > 0
    assert not (tmp_path / "asked").exists()
    study.cli("run")
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize("words", [["run"], ["run", "--parallel", "2", "--cores", "8"]])
def test_words_of_an_environments_own_go_before_every_command(ours: Any, words: list[str]) -> None:
    study = ours(OWN_PREFIX)
    (job_id,) = study.make_jobs()
    study.cli(*words)
    assert (study.job(job_id) / "plain").read_text() == f"plain{job_id}"
    line = study.cli("run", "--pretend", "--ignore-conditions=post", "-o", "shell").stdout
    assert line == f"env OPERATION=shell JOB={job_id} touch workspace/{job_id}/shell\n"


def test_a_script_brings_along_which_environment_it_was_submitted_from(ours: Any, tmp_path: Path) -> None:
    study = ours()
    (study.path / "project.py").write_text(
        (study.path / "project.py")
        .read_text()
        .replace("(ComputeEnvironment)", "(DefaultSlurmEnvironment)")
        .replace("import ComputeEnvironment", "import DefaultSlurmEnvironment")
    )
    asked = {**os.environ, "POINTILLIST_ENVIRONMENT": "Ours"}
    script = study.cli("submit", "--pretend", "-o", "shell", env=asked).stdout
    assert "export POINTILLIST_SUBMITTED_FROM=Ours\n" in script
    assert "SUBMITTED_FROM" not in study.cli("submit", "--pretend", "-o", "plain", env=asked).stdout
    # On its node nothing looks like ours any more, and the script is run as the scheduler runs it.
    text = (study.path / "project.py").read_text()
    (study.path / "project.py").write_text(text.replace("return True", "return False"))
    subprocess.run(["bash", "-c", script], check=True, capture_output=True)
    (job_id,) = study.make_jobs()
    assert (tmp_path / "log").read_text() == f"called with -n 2 touch workspace/{job_id}/shell\n"


class TestJobOperations:
    """In Python, with an environment that is given."""

    @pytest.fixture
    def cls(self) -> Any:
        class Made(FlowProject):
            pass

        Made.operation("work", cmd=True, directives={"nranks": 2})(lambda job: "work")
        return Made

    def line(self, cls: Any, workspace: signac.Project, environment: Any) -> str:
        project = cls(workspace.path, environment=environment)
        return next(iter(project._next_operations())).cmd

    def test_a_line_has_the_prefix_of_the_environment(self, workspace: signac.Project, cls: Any) -> None:
        class Srun(DefaultSlurmEnvironment):
            mpi_cmd = "srun -u"

        assert self.line(cls, workspace, StandardEnvironment) == "mpiexec -n 2 work"
        assert self.line(cls, workspace, Srun) == "srun -u -n 2 work"

    def test_methods_in_the_form_of_signac_flow_are_called(self, workspace: signac.Project, cls: Any) -> None:
        class Mpi(ComputeEnvironment):
            @classmethod
            def _get_mpi_prefix(cls, operation: Any, parallel: bool) -> str:
                return f"ibrun -n {operation.directives['nranks']} -o {int(parallel)}"

        class Omp(Mpi):
            @classmethod
            def _get_omp_prefix(cls, operation: Any) -> str:
                return f"threads {operation.directives['omp_num_threads']} "

        class All(ComputeEnvironment):
            @template_filter
            def get_prefix(
                cls, operation: Any, mpi_prefix: Any = None, cmd_prefix: Any = None, parallel: Any = 0
            ) -> str:
                return f"# {operation.id}\n"

        assert self.line(cls, workspace, Mpi) == "ibrun -n 2 -o 0 work"
        assert self.line(cls, workspace, Omp) == "ibrun -n 2 -o 0 work"
        cls.operation("threaded", cmd=True, directives={"omp_num_threads": 4})(lambda job: "work")
        project = cls(workspace.path, environment=Omp)
        assert {o.name: o.cmd for o in project._next_operations()}["threaded"] == "threads 4 ibrun -n 0 -o 0 work"
        assert self.line(cls, workspace, All).startswith("# Made/")

    def test_an_environment_that_raises_is_named(self, workspace: signac.Project, cls: Any) -> None:
        class Bad(ComputeEnvironment):
            @classmethod
            def _get_mpi_prefix(cls, operation: Any, parallel: bool) -> str:
                raise ValueError("no such machine.")

        project = cls(workspace.path, environment=Bad)
        with pytest.raises(
            UserOperationError, match=r"The environment Bad raised ValueError: no such machine\. 2 more"
        ):
            project.run()

    def test_hooks_and_the_cause_of_an_error_have_the_command_that_failed(self, workspace: signac.Project) -> None:
        class Made(FlowProject):
            pass

        class Env(ComputeEnvironment):
            mpi_cmd = "env"
            mpi_options = "RANKS={nranks}"

        seen = []
        Made.operation_hooks.on_exception(lambda name, error, job: seen.append(error))(
            Made.operation("work", cmd=True, directives={"nranks": 2})(lambda job: "sh -c 'exit 3'")
        )
        project = Made(workspace.path, environment=Env)
        with pytest.raises(UserOperationError) as caught:
            project.run(num=1)
        (error,) = seen
        assert (error.cmd, error.returncode) == ("env RANKS=2 sh -c 'exit 3'", 3)
        assert caught.value.__cause__ is error


def test_hooks_of_exec_have_the_command_that_failed(make_study: Any) -> None:
    study = make_study(
        """
        def note(name, error, job):
            with open("error", "w") as file:
                file.write(f"{error.cmd}")

        @Project.operation_hooks.on_exception(note)
        @Project.operation(cmd=True)
        def shell(job):
            return "exit 3; true"
        """,
        {"x": 0},
    )
    study.cli("exec", "shell", check=1)
    assert (study.path / "error").read_text() == "exit 3; true"


@pytest.mark.parametrize("parallel", [None, 2])
def test_no_sentence_ends_twice(workspace: signac.Project, parallel: int | None) -> None:
    class Made(FlowProject):
        pass

    def command(job: Any) -> str:
        raise ValueError("A sentence.")

    Made.operation("work", cmd=True)(command)
    with pytest.raises(UserOperationError) as caught:
        Made(workspace.path).run(np=parallel)
    assert "raised ValueError: A sentence. 2 more failed." in str(caught.value)
    assert ".." not in str(caught.value)
