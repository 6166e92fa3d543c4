"""Random walks in two dimensions: simulate, look at each, and compare step lengths over their replicas.

The mean squared distance of a walker from where it began grows as (number of steps) x (step length) squared.
"""

import json
import math
import random

from pointillist import FlowProject, aggregator

REPLICAS = aggregator.groupby("step", sort_by="replica")


class Project(FlowProject):
    pass


@Project.label
def simulated(job):
    return job.isfile("walk.json")


@Project.post(simulated)
@Project.operation
def simulate(job):
    """Walk, each step in a random direction."""
    chance = random.Random(f"{job.sp.step} {job.sp.replica}")
    x = y = 0.0
    points = [(x, y)]
    for _ in range(job.sp.num_steps):
        angle = chance.uniform(0, 2 * math.pi)
        x += job.sp.step * math.cos(angle)
        y += job.sp.step * math.sin(angle)
        points.append((x, y))
    with open(job.fn("walk.json"), "w") as file:
        json.dump(points, file)


def walk_of(job):
    with open(job.fn("walk.json")) as file:
        return json.load(file)


@Project.pre.after(simulate)
@Project.post(lambda job: "squared_distance" in job.doc)
@Project.operation
def measure(job):
    """Note how far the walk went in the end."""
    x, y = walk_of(job)[-1]
    job.doc.squared_distance = x * x + y * y


# One task for all replicas of a step length. What it finds, it writes into the first job of the aggregate.
@Project.pre.after(measure)
@Project.post(lambda *jobs: "mean_squared_distance" in jobs[0].doc)
@Project.operation(aggregator=REPLICAS)
def average(*jobs):
    """Average over the replicas."""
    jobs[0].doc.mean_squared_distance = sum(job.doc.squared_distance for job in jobs) / len(jobs)


@Project.pre.after(simulate)
@Project.post(lambda *jobs: jobs[0].isfile("walks.png"))
@Project.operation(aggregator=REPLICAS)
def plot_walks(*jobs):
    """Draw the walks of one step length."""
    from matplotlib.figure import Figure

    axes = (figure := Figure()).subplots()
    for job in jobs:
        axes.plot(*zip(*walk_of(job), strict=True), label=f"replica {job.sp.replica}", linewidth=0.8)
    axes.set(title=f"step length {jobs[0].sp.step}", aspect="equal")
    axes.legend()
    figure.savefig(jobs[0].fn("walks.png"))


# One task for the whole study, on the first job of each step length.
@Project.pre(lambda *jobs: all("mean_squared_distance" in job.doc for job in jobs))
@Project.post(lambda *jobs: jobs[0].project.isfile("distances.png"))
@Project.operation(aggregator=aggregator(sort_by="step", select=lambda job: job.sp.replica == 0))
def plot_distances(*jobs):
    """Draw the mean squared distance beside what theory says."""
    from matplotlib.figure import Figure

    axes = (figure := Figure()).subplots()
    steps = [job.sp.step for job in jobs]
    axes.plot(steps, [job.doc.mean_squared_distance for job in jobs], "o", label="simulated")
    axes.plot(steps, [job.sp.num_steps * job.sp.step**2 for job in jobs], "-", label="expected")
    axes.set(xlabel="step length", ylabel="mean squared distance")
    axes.legend()
    figure.savefig(jobs[0].project.fn("distances.png"))


if __name__ == "__main__":
    Project.main()
