"""A scheduler that only shows what it is given, to try a submission."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pointillist.scheduling.base import ClusterJob, Scheduler

__all__ = ["FakeScheduler"]


class FakeScheduler(Scheduler):
    """Print scripts instead of running them; named as ``scheduler_type`` of an environment, never found."""

    def jobs(self) -> Iterator[ClusterJob]:
        """Yield nothing: there is no queue."""
        return iter(())

    def submit(self, script: str, **kwargs: Any) -> None:
        """Print a script."""
        print(script)
