"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

Bridges2Environment = PACKAGED["Bridges2Environment"]
DeltaEnvironment = PACKAGED["DeltaEnvironment"]
ExpanseEnvironment = PACKAGED["ExpanseEnvironment"]

__all__ = ["Bridges2Environment", "DeltaEnvironment", "ExpanseEnvironment"]
