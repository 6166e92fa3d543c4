"""The ids under which schedulers know tasks, as signac-flow 0.29.1 makes them, and the lines that groups write."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import signac

from pointillist import FlowProject, get_aggregate_id
from pointillist.definition.groups import job_operation_id
from pointillist.scheduling.base import ClusterJob, JobStatus

ONE, OTHER = "0" * 32, "1" * 32
BOTH = "agg-e7c4904be148de56c1bd2d28944ae8f8"


@pytest.mark.parametrize(
    ("cls", "aggregate", "operations", "separator", "known_as"),
    [
        ("Study", ONE, ["train"], "/", f"Study/{ONE}/train/47bd9ad48b39ea501afa143159b49da5"),
        ("Study", ONE, ["train"], "-", f"Study-{ONE}-train-47bd9ad48b39ea501afa143159b49da5"),
        ("Study", ONE, ["train", "evaluate"], "/", f"Study/{ONE}/evaluatetrai/a039ef3227f33cfc64c44d149b695552"),
        ("Study", ONE, ["a_long_operation_name"], "/", f"Study/{ONE}/a_long_opera/088faef03e84e2318a13c76a86cf944e"),
        ("Study", BOTH, ["train"], "/", f"Study/{BOTH}/train/298ebd54485e8a760edf67083ab0b8b8"),
        (
            "AVeryLongProjectClass",
            BOTH,
            ["a_long_operation_name"],
            "/",
            f"AVeryLongPro/{BOTH}/a_long_opera/6cffacc41e6a2d5c70897281dd45317c",
        ),
    ],
)
def test_ids_are_those_that_signac_flow_has_given(
    cls: str, aggregate: str, operations: list[str], separator: str, known_as: str
) -> None:
    assert job_operation_id(cls, "/home/ada/study", aggregate, operations, separator) == known_as


def test_an_aggregate_of_several_jobs_has_an_id_of_its_own(tmp_path: Any) -> None:
    jobs = [type("Job", (), {"id": one})() for one in (ONE, OTHER)]
    assert get_aggregate_id(jobs) == BOTH
    assert get_aggregate_id(jobs[:1]) == ONE
    assert get_aggregate_id(reversed(jobs)) not in (BOTH, ONE)


def test_states_on_the_cluster_have_the_numbers_that_are_stored() -> None:
    words = ["registered", "inactive", "submitted", "held", "queued", "active", "error"]
    names = ["unknown", *words, *(f"group_{word}" for word in words)]
    numbers = {name: number for number, name in enumerate(names, start=1)}
    assert {one.name: int(one) for one in JobStatus} == numbers | {"placeholder": 127, "user": 128}
    job = ClusterJob("its name", JobStatus.active)
    assert (job.name(), str(job), job.status()) == ("its name", "its name", JobStatus.active)
    assert [FlowProject.ALIASES[one] for one in ("queued", "active", "group_held")] == ["Q", "A", "GH"]


def test_options_and_directives_of_a_group_are_in_the_lines_of_its_operations(
    workspace: signac.Project, capsys: pytest.CaptureFixture[str]
) -> None:
    class Project(FlowProject):
        pass

    group = Project.make_group("both", run_options="--debug")
    group(directives={"nranks": 3})(Project.operation("first", directives={"nranks": 2})(lambda job: None))
    group(Project.operation("second", cmd=True, directives={"omp_num_threads": 4})(lambda job: "echo"))
    project = Project(workspace.path, entrypoint={"path": "p.py"})

    def lines(*names: str) -> list[str]:
        project.run(names=names, pretend=True, jobs=[workspace.open_job({"x": 0})])
        return sorted(capsys.readouterr().out.splitlines())

    first, shell = f"{sys.executable} p.py exec first {workspace.open_job({'x': 0}).id}", "OMP_NUM_THREADS=4; echo"
    assert lines("first", "second") == [f"export {shell}", f"mpiexec -n 2 {first}"]
    assert lines("both") == [f"export {shell}", f"mpiexec -n 3 {first} --debug"]
