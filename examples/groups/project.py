"""Operations under one name.

    python project.py run -o prepare      both preparing operations of each job
    python project.py run -o per_kind     both comparing operations, on all jobs of a kind at once
    python project.py status -o prepare

A group may ask for other resources than its operations do alone, and may put jobs together.
"""

from pointillist import FlowProject, aggregator


class Project(FlowProject):
    pass


prepare = Project.make_group("prepare")
per_kind = Project.make_group("per_kind", group_aggregator=aggregator.groupby("kind", sort_by="number"))


@prepare
@Project.post.true("doubled")
@Project.operation(directives={"walltime": 0.1})
def double(job):
    job.doc.doubled = 2 * job.sp.number


@prepare(directives={"walltime": 0.5, "np": 2})
@Project.pre.after(double)
@Project.post.true("squared")
@Project.operation(directives={"walltime": 0.1})
def square(job):
    job.doc.squared = job.doc.doubled**2


# Operations of a group get what the group puts together, here all jobs of a kind.
@per_kind
@Project.pre.true("squared")
@Project.post.true("total")
@Project.operation(aggregator=aggregator.groupby("kind"))
def add_up(*jobs):
    for job in jobs:
        job.doc.total = sum(other.doc.squared for other in jobs)


@per_kind
@Project.pre.after(add_up)
@Project.post.isfile("share.txt")
@Project.operation(aggregator=aggregator.groupby("kind"))
def share(*jobs):
    for job in jobs:
        with open(job.fn("share.txt"), "w") as file:
            file.write(f"{job.doc.squared / job.doc.total:.3f}\n")


if __name__ == "__main__":
    Project.main()
