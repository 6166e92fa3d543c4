"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

AnvilEnvironment = PACKAGED["AnvilEnvironment"]

__all__ = ["AnvilEnvironment"]
