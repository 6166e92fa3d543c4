"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

AndesEnvironment = PACKAGED["AndesEnvironment"]
FrontierEnvironment = PACKAGED["FrontierEnvironment"]

__all__ = ["AndesEnvironment", "FrontierEnvironment"]
