"""Ranks of tasks on the real Slurm: steps of the cluster job, started by what the login node calls for."""

from __future__ import annotations

from typing import Any

import pytest
from patience import until
from slurm_service import SlurmService
from waiting import queue_is_empty, states

BODY = """
import os
from pointillist.environment import DefaultSlurmEnvironment

class Login(DefaultSlurmEnvironment):
    mpi_cmd = "srun"

    @classmethod
    def is_present(cls):
        return "SLURM_JOB_ID" not in os.environ

def ranks_of(word):
    return lambda job: all(job.isfile(f"{word}-{rank}") for rank in range(2))

@Project.post(ranks_of("shell"))
@Project.operation(cmd=True, directives={"nranks": 2, "walltime": 0.02})
def shell(job):
    return f"sh -c 'touch workspace/{job.id}/shell-$SLURM_PROCID'"

@Project.post(ranks_of("python"))
@Project.operation(directives={"nranks": 2, "walltime": 0.02})
def python(job):
    with open(job.fn("python-" + os.environ["SLURM_PROCID"]), "w") as file:
        file.write(os.environ["SLURM_NTASKS"] + " " + os.environ["SLURM_STEP_ID"])
"""


@pytest.mark.usefixtures("real_slurm")
@pytest.mark.parametrize("operation", ["shell", "python"])
def test_ranks_of_a_cluster_job_are_started_by_srun(make_study: Any, real_slurm: SlurmService, operation: str) -> None:
    study = make_study(BODY, {"x": 0})
    (job_id,) = study.make_jobs()
    study.cli("submit", "-o", operation)
    until(lambda: queue_is_empty(real_slurm))
    assert states(study)[operation] == {"completed"}, study.cli("logs", check=None).stdout
    if operation == "python":
        assert [(study.job(job_id) / f"python-{rank}").read_text() for rank in range(2)] == ["2 0", "2 0"]
