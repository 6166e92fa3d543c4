"""A project whose answers were recorded under signac-flow 0.29.1: completed, eligible, labels, groups, aggregates.

One entry of the recorded graph was changed: signac-flow saw two lambdas of equal bytecode, but different constants, as
one condition.
"""

from __future__ import annotations

import json
from pathlib import Path

import signac

from pointillist import FlowProject, aggregator

RECORDED = Path(__file__).parent / "recorded" / "signac_flow_0_29_1.json"


class Project(FlowProject):
    pass


both = Project.make_group("both", submit_options="--x", run_options="")
per_g = Project.make_group("agg", group_aggregator=aggregator.groupby("g"))


@Project.label
def lab(job):
    return job.sp.x > 1


@Project.label("named")
def lab2(job):
    return f"txt{job.sp.x % 2}"


@both
@Project.post.isfile("a")
@Project.operation
def opa(job):
    pass


@both
@per_g
@Project.pre.after(opa)
@Project.post.true("b")
@Project.operation(directives={"np": lambda *jobs: 3})
def opb(*jobs):
    pass


@Project.pre.true("b")
@Project.pre(lambda *jobs: all(j.sp.x >= 0 for j in jobs))
@Project.post(lambda *jobs: all(j.isfile("c") for j in jobs))
@Project.operation(aggregator=aggregator.groupby("g", sort_by="x", sort_ascending=False))
def opc(*jobs):
    pass


@Project.pre.copy_from(opb)
@Project.post.false("z")
@Project.operation(aggregator=aggregator.groupsof(2, sort_by="x"))
def opd(*jobs):
    pass


@Project.post(lambda *jobs: False)
@Project.operation(aggregator=aggregator(select=lambda job: job.sp.x % 2 == 0))
def ope(*jobs):
    pass


@Project.pre.never
@Project.operation
def opf(job):
    pass


@Project.operation(cmd=True, aggregator=aggregator(lambda jobs: [jobs[:2], jobs[1:3]], sort_by="x"))
def opg(*jobs):
    return "x"


def test_answers_are_those_of_signac_flow(tmp_path: Path) -> None:
    workspace = signac.init_project(tmp_path)
    for x in range(5):
        job = workspace.open_job({"x": x, "g": x // 2}).init()
        if x != 3:
            Path(job.fn("a")).touch()
        if x < 2:
            job.doc.b = True
        if x == 1:
            job.doc.z = True
        if x == 0:
            Path(job.fn("c")).touch()
    project = Project(tmp_path)
    next_operations = [[o.name, [j.id for j in o._jobs], o.directives["np"]] for o in project._next_operations()]
    answers = {
        "status": {job.id: project.get_job_status(job) for job in workspace},
        "next": sorted(next_operations),
        "graph": project.detect_operation_graph(),
        "completed": {job.id: sorted(project.completed_operations(job)) for job in workspace},
        "labels": {job.id: sorted(project.labels(job)) for job in workspace},
        "ops": list(project.operations),
        "groups": sorted(project.groups),
    }
    assert answers == json.loads(RECORDED.read_text())
