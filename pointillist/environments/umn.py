"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

MangiEnvironment = PACKAGED["MangiEnvironment"]

__all__ = ["MangiEnvironment"]
