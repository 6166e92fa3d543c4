"""A study that grows while it runs: find where x*x = 2 by halving an interval.

Each job looks at one interval and makes the job of the half that holds the solution. A run goes on with jobs that were
made while it was going.
"""

from pointillist import FlowProject

PRECISION = 1e-3


class Project(FlowProject):
    pass


@Project.label
def precise(job):
    return job.sp.high - job.sp.low < PRECISION


@Project.post(lambda job: "middle" in job.doc)
@Project.operation
def halve(job):
    """Look at the middle of the interval, and go on with one half."""
    low, high = job.sp.low, job.sp.high
    middle = (low + high) / 2
    if high - low >= PRECISION:
        half = {"low": middle, "high": high} if middle * middle < 2 else {"low": low, "high": middle}
        job.project.open_job(half).init()
    # Last, so that a job that was interrupted is tried again.
    job.doc.middle = middle


@Project.pre(precise)
@Project.pre.after(halve)
@Project.post.isfile("answer.txt")
@Project.operation
def answer(job):
    """Write the answer down."""
    with open(job.fn("answer.txt"), "w") as file:
        file.write(f"{job.doc.middle:.4f}\n")


if __name__ == "__main__":
    Project.main()
