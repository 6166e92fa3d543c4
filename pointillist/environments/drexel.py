"""The environments that signac-flow keeps in a module of this name."""

from pointillist.cluster.environments import PACKAGED

PicotteEnvironment = PACKAGED["PicotteEnvironment"]

__all__ = ["PicotteEnvironment"]
