"""The adapter, under the name that signac-flow gives it."""

from pointillist.cluster.schedulers.slurm import Slurm as SlurmScheduler

__all__ = ["SlurmScheduler"]
