"""Partitions as environments written for signac-flow describe them: three tables by partition name.

The engine's own form is :class:`pointillist.cluster.partitions.Cluster`. This one knows no limits of time and memory
and chooses nothing: a request is only checked against the partition that it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import IntEnum
from typing import TypeVar

from pointillist.cluster.errors import NoPartitionFits
from pointillist.cluster.schedulers.requests import Request

LEAST_USE = 0.9
"""The share of whole nodes that a request must use."""

T = TypeVar("T")


class NodeTypes(IntEnum):
    """How a partition gives its nodes away."""

    SHARED = 1
    """Parts of one node."""
    MIXED = 2
    """Parts of a node, or several nodes."""
    WHOLENODE = 3
    """Nodes as a whole."""


class PartitionConfig:
    """Describe the partitions of an environment, as its ``_partition_config``.

    Parameters
    ----------
    cpus_per_node
        Cores of a node by partition; not given: any number.
    gpus_per_node
        GPUs of a node by partition; not given: none.
    node_types
        How nodes are given away by partition; not given: ``MIXED``.

    Notes
    -----
    The key ``"default"`` stands for partitions that a table does not list.
    """

    def __init__(
        self,
        cpus_per_node: Mapping[str, int] | None = None,
        gpus_per_node: Mapping[str, int] | None = None,
        node_types: Mapping[str, NodeTypes] | None = None,
    ) -> None:
        self.cpus_per_node = dict(cpus_per_node or {})
        self.gpus_per_node = dict(gpus_per_node or {})
        self.node_types = dict(node_types or {})

    def place(self, request: Request) -> Request:
        """Return the request with the number of nodes it takes in the partition that it names.

        Raises
        ------
        NoPartitionFits
            When that partition is not for it: GPUs where there are none or none where there are, more than one node
            of a shared partition, whole nodes that it would hardly use.
        """
        cpus = _of(self.cpus_per_node, request.partition, None)
        gpus = _of(self.gpus_per_node, request.partition, 0)
        kind = _of(self.node_types, request.partition, NodeTypes.MIXED)
        if request.total_gpus and not gpus:
            raise _refused(request, "asks for GPUs and it has none")
        if gpus and not request.total_gpus:
            raise _refused(request, "asks for no GPU and it is for jobs that use them")
        # Nodes with GPUs are counted by those, the others by their cores.
        asked, offered, thing = (request.total_gpus, gpus, "GPUs") if gpus else (request.cores, cpus, "cores")
        nodes = 1 if offered is None else -(-asked // offered)
        if kind == NodeTypes.SHARED and nodes > 1:
            raise _refused(request, f"asks for {asked} {thing}, which is more than one node, and its nodes are shared")
        if kind == NodeTypes.WHOLENODE and offered is not None and asked < LEAST_USE * nodes * offered:
            raise _refused(
                request, f"would use {asked} of {nodes * offered} {thing}, and it gives only whole nodes away"
            )
        return replace(request, nodes=max(nodes, request.nodes or 1))


def _of(table: Mapping[str, T], partition: str, otherwise: T) -> T:
    return table.get(partition, table.get("default", otherwise))


def _refused(request: Request, reason: str) -> NoPartitionFits:
    where = f"the partition '{request.partition}'" if request.partition else "the default partition"
    return NoPartitionFits(
        f"'{request.name}' does not fit into {where}: it {reason}.",
        reasons={request.partition: reason},
        hint="Name another partition with --partition, ask for something else, or use --force.",
    )
