"""The files that ``python -m pointillist init`` writes. Each project runs as it is."""

MINIMAL_PROJECT = '''\
"""The operations of this study: `python project.py status`, `python project.py run`."""

from pointillist import FlowProject


class Project(FlowProject):
    pass


# A first operation: it runs for each job whose folder holds no file `hello.txt` yet.
@Project.post.isfile("hello.txt")
@Project.operation
def hello(job):
    with open(job.fn("hello.txt"), "w") as file:
        file.write(f"Hello from {job}\\n")


if __name__ == "__main__":
    Project.main()
'''

MINIMAL_INIT = '''\
"""Makes the jobs of this study: run `python init.py` again whenever the grid changes."""

import signac
from pointillist import grid

project = signac.init_project()
for statepoint in grid(a=[1, 2, 3]):
    project.open_job(statepoint).init()
'''

EXAMPLE_PROJECT = '''\
"""A study in three operations: estimate pi by throwing darts, judge each estimate, compare all.

    python init.py
    python project.py run
    python project.py status --detailed -p darts
"""

import json
import math
import random

from pointillist import FlowProject, aggregator


class Project(FlowProject):
    pass


@Project.label
def estimated(job):
    return job.isfile("estimate.json")


@Project.label
def close(job):
    return abs(job.doc.get("error", math.inf)) < 0.05


@Project.post(estimated)
@Project.operation
def throw_darts(job):
    darts = random.Random(job.sp.seed)
    inside = sum(math.hypot(darts.random(), darts.random()) < 1 for _ in range(job.sp.darts))
    with open(job.fn("estimate.json"), "w") as file:
        json.dump(4 * inside / job.sp.darts, file)


@Project.pre.after(throw_darts)
@Project.post(lambda job: "error" in job.doc)
@Project.operation
def judge(job):
    with open(job.fn("estimate.json")) as file:
        job.doc.error = json.load(file) - math.pi


# One task for all jobs of the same number of darts; its function returns a shell command.
@Project.pre.after(judge)
@Project.post.isfile("compared.txt")
@Project.operation(cmd=True, aggregator=aggregator.groupby("darts", sort_by="seed"))
def compare(*jobs):
    mean = sum(abs(job.doc.error) for job in jobs) / len(jobs)
    files = " ".join(f"workspace/{job.id}/compared.txt" for job in jobs)
    return f"echo '{jobs[0].sp.darts} darts: mean error {mean:.4f}' | tee {files}"


if __name__ == "__main__":
    Project.main()
'''

EXAMPLE_INIT = '''\
"""Makes the jobs of this study: run `python init.py` again whenever the grid changes."""

import signac
from pointillist import grid

project = signac.init_project()
for statepoint in grid(darts=[100, 1_000, 10_000], seed=[1, 2, 3]):
    project.open_job(statepoint).init()
'''

TESTING_PROJECT = '''\
"""Two operations that ask for much of a machine, to try how a cluster is asked for it: `python project.py submit`."""

from pointillist import FlowProject

# What the machine at hand has.
CORES = {cores}
GPUS = {gpus}


class Project(FlowProject):
    pass


@Project.post.isfile("all_cores.txt")
@Project.operation(cmd=True, directives={{"np": CORES, "walltime": 0.1}})
def use_all_cores(job):
    return f"nproc > {{job.fn('all_cores.txt')}}"


@Project.pre.after(use_all_cores)
@Project.post.isfile("threads.txt")
@Project.operation(cmd=True, directives={{"omp_num_threads": CORES, "walltime": 0.1}})
def use_threads(job):
    return f"echo $OMP_NUM_THREADS > {{job.fn('threads.txt')}}"


if GPUS:

    @Project.post.isfile("gpus.txt")
    @Project.operation(cmd=True, directives={{"ngpu": GPUS, "walltime": 0.1}})
    def use_all_gpus(job):
        return f"echo $CUDA_VISIBLE_DEVICES > {{job.fn('gpus.txt')}}"


if __name__ == "__main__":
    Project.main()
'''

TESTING_INIT = '''\
"""Makes the jobs of this trial."""

import signac
from pointillist import grid

project = signac.init_project()
for statepoint in grid(number=range({jobs})):
    project.open_job(statepoint).init()
'''


def trial(*, cores: int = 2, gpus: int = 0, jobs: int = 10) -> tuple[tuple[str, str], ...]:
    """Return the files of a study that asks for all cores and GPUs of a machine."""
    return (
        ("project.py", TESTING_PROJECT.format(cores=cores, gpus=gpus)),
        ("init.py", TESTING_INIT.format(jobs=jobs)),
    )


STARTERS = {
    "minimal": (("project.py", MINIMAL_PROJECT), ("init.py", MINIMAL_INIT)),
    "example": (("project.py", EXAMPLE_PROJECT), ("init.py", EXAMPLE_INIT)),
    "testing": trial(),
}
