"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

GreatLakesEnvironment = PACKAGED["GreatLakesEnvironment"]

__all__ = ["GreatLakesEnvironment"]
