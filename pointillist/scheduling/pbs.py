"""The adapter, under the name that signac-flow gives it."""

from pointillist.cluster.schedulers.pbs import Pbs as PBSScheduler

__all__ = ["PBSScheduler"]
