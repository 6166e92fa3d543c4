"""A scheduler that only shows what it is given, to try a submission; under the name that signac-flow gives it."""

from pointillist.cluster.schedulers.older import FakeScheduler

__all__ = ["FakeScheduler"]
