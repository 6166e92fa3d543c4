"""Schedulers in the form that signac-flow gives them: what a scheduler of the user's own inherits from.

The engine's own contract, with arrays, dependencies and cancellation, is ``pointillist.cluster.schedulers.base``.
"""

from pointillist.cluster.schedulers.older import JobStatus
from pointillist.cluster.schedulers.older import OlderClusterJob as ClusterJob
from pointillist.cluster.schedulers.older import OlderScheduler as Scheduler

__all__ = ["ClusterJob", "JobStatus", "Scheduler"]
