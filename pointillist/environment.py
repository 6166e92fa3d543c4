"""Compute environments, under the name that signac-flow gives this module."""

from pointillist.cluster.environments import (
    ComputeEnvironment,
    DefaultLSFEnvironment,
    DefaultPBSEnvironment,
    DefaultSlurmEnvironment,
    DefaultTorqueEnvironment,
    LocalEnvironment,
    SimpleSchedulerEnvironment,
    StandardEnvironment,
    TestEnvironment,
    environments,
    get_environment,
    make_environment,
    template_filter,
)
from pointillist.cluster.older_partitions import NodeTypes as _NodeTypes
from pointillist.cluster.older_partitions import PartitionConfig as _PartitionConfig

__all__ = [
    "ComputeEnvironment",
    "DefaultLSFEnvironment",
    "DefaultPBSEnvironment",
    "DefaultSlurmEnvironment",
    "DefaultTorqueEnvironment",
    "LocalEnvironment",
    "SimpleSchedulerEnvironment",
    "StandardEnvironment",
    "TestEnvironment",
    "_NodeTypes",
    "_PartitionConfig",
    "get_environment",
    "make_environment",
    "registered_environments",
    "template_filter",
]


def registered_environments() -> list[type[ComputeEnvironment]]:
    """Return all environments that are defined, in the order of their definition."""
    return environments()[::-1]
