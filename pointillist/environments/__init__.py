"""The environments of the clusters that come with the package, by class name: ``environments.AnvilEnvironment``."""

from typing import TYPE_CHECKING

from pointillist.cluster.environments import PACKAGED, ComputeEnvironment

if not TYPE_CHECKING:
    globals().update(PACKAGED)

__all__ = list(PACKAGED)


def __getattr__(name: str) -> type[ComputeEnvironment]:
    raise AttributeError(f"There is no environment {name!r}; there are {', '.join(PACKAGED)}.")
