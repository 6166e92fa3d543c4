"""Compute environments, under the name that signac-flow gives this module."""

from pointillist.cluster.environments import (
    ComputeEnvironment,
    DefaultLSFEnvironment,
    DefaultPBSEnvironment,
    DefaultSlurmEnvironment,
    DefaultTorqueEnvironment,
    LocalEnvironment,
    StandardEnvironment,
    TestEnvironment,
    get_environment,
    make_environment,
    template_filter,
)

__all__ = [
    "ComputeEnvironment",
    "DefaultLSFEnvironment",
    "DefaultPBSEnvironment",
    "DefaultSlurmEnvironment",
    "DefaultTorqueEnvironment",
    "LocalEnvironment",
    "StandardEnvironment",
    "TestEnvironment",
    "get_environment",
    "make_environment",
    "template_filter",
]
