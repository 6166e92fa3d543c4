"""The contract that every scheduler keeps, under the name that signac-flow gives this module."""

from pointillist.cluster.schedulers.base import ClusterJob, Scheduler
from pointillist.cluster.schedulers.base import State as JobStatus

__all__ = ["ClusterJob", "JobStatus", "Scheduler"]
