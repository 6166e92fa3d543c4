"""The adapter, under the name that signac-flow gives it."""

from pointillist.cluster.schedulers.lsf import Lsf as LSFScheduler

__all__ = ["LSFScheduler"]
