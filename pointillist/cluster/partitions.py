"""Clusters as data, and the choice of a partition.

Owns `Cluster` and `Partition` and decides, without asking anybody, which partition a request goes to. It
knows no particular cluster (`clusters.py` lists those that come with the package) and no scheduler's
spelling.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pointillist.cluster.errors import NoPartitionFits
from pointillist.cluster.schedulers.requests import Request
from pointillist.wording import counted


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Describe one partition. None means that a fact is not known, and is not held against a request.

    Attributes
    ----------
    name
        As the scheduler calls it.
    cpus_per_node, gpus_per_node, memory_per_node_bytes
        What one node has for jobs. ``gpus_per_node=0`` says that there are none.
    max_walltime_s, max_nodes
        Largest request.
    exclusive
        Whether a job gets, and pays for, whole nodes.
    needs_gpu
        Whether only jobs that ask for a GPU are welcome. True by default where there are GPUs.
    only_by_name
        Never chosen unless named: debug queues, nodes with a surcharge.
    note
        What a person should know, such as a fact that could not be confirmed.
    """

    name: str
    cpus_per_node: int | None = None
    gpus_per_node: int | None = 0
    memory_per_node_bytes: int | None = None
    max_walltime_s: int | None = None
    max_nodes: int | None = None
    exclusive: bool = False
    needs_gpu: bool | None = None
    only_by_name: bool = False
    note: str = ""

    @property
    def wants_gpus(self) -> bool:
        """Whether only jobs that ask for a GPU are welcome."""
        return self.gpus_per_node != 0 if self.needs_gpu is None else self.needs_gpu


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Describe one cluster.

    Attributes
    ----------
    name
        As people call it.
    hostname_pattern
        Regular expression for the full host name of its login nodes; empty when it is told otherwise.
    variable, variable_value
        Environment variable (and its value, when that matters) by which it is told.
    scheduler
        Name in the table of schedulers.
    partitions
        In the order in which they are preferred.
    mpi_command, mpi_options
        What starts a program with several ranks, and by which words it is told how many: ``{nranks}``, ``{threads}``
        and ``{gpus}`` stand for what an operation asks for. Empty: ``mpiexec`` and ``-n {nranks}``.
    source
        Where the facts come from.
    """

    name: str
    hostname_pattern: str = ""
    variable: str = ""
    variable_value: str = ""
    scheduler: str = "slurm"
    partitions: tuple[Partition, ...] = ()
    mpi_command: str = ""
    mpi_options: str = ""
    source: str = ""

    def is_here(self, hostname: str, environment: dict[str, str]) -> bool:
        """Whether a machine of this name and environment belongs to the cluster."""
        if self.variable and self.variable in environment:
            return not self.variable_value or environment[self.variable] == self.variable_value
        return bool(self.hostname_pattern) and re.search(self.hostname_pattern, hostname) is not None


def nodes_needed(partition: Partition, request: Request) -> int:
    """Return the least number of the partition's nodes that hold a request, one process being on one node.

    Raises
    ------
    NoPartitionFits
        When a single process is larger than a node.
    """
    per_node = [request.processes]
    if partition.cpus_per_node is not None:
        per_node.append(partition.cpus_per_node // request.threads_per_process)
    if partition.gpus_per_node is not None and request.gpus_per_process:
        per_node.append(partition.gpus_per_node // request.gpus_per_process)
    memory = request.total_memory_bytes
    if partition.memory_per_node_bytes is not None and memory is not None:
        per_node.append(partition.memory_per_node_bytes // max(1, -(-memory // request.processes)))
    fit = min(per_node)
    if fit < 1:
        raise NoPartitionFits(f"One process does not fit on a node of '{partition.name}'.", reasons={})
    nodes = -(-request.processes // fit)
    if request.gpus and partition.gpus_per_node:
        nodes = max(nodes, -(-request.gpus // partition.gpus_per_node))
    return max(nodes, request.nodes or 1)


def why_not(partition: Partition, request: Request) -> str:
    """Return a sentence that says why a request does not fit; empty when it does."""
    gpus = request.total_gpus
    if gpus and partition.gpus_per_node == 0:
        return f"it has no GPUs and {counted(gpus, 'GPU is', 'GPUs are')} asked for"
    if not gpus and partition.wants_gpus:
        return "it is for jobs that use GPUs and none is asked for"
    for wanted, offered, thing in (
        (request.threads_per_process, partition.cpus_per_node, "core"),
        (request.gpus_per_process, partition.gpus_per_node, "GPU"),
    ):
        if offered is not None and wanted > offered:
            return f"a process asks for {counted(wanted, thing)} and a node has {offered}"
    memory = request.total_memory_bytes
    per_process = 0 if memory is None else -(-memory // request.processes)
    if partition.memory_per_node_bytes is not None and per_process > partition.memory_per_node_bytes:
        return f"a process asks for {_size(per_process)} and a node has {_size(partition.memory_per_node_bytes)}"
    if partition.max_walltime_s is not None and (request.walltime_s or 0) > partition.max_walltime_s:
        return f"it asks for {_hours(request.walltime_s or 0)} and the limit is {_hours(partition.max_walltime_s)}"
    nodes = nodes_needed(partition, request)
    if partition.max_nodes is not None and nodes > partition.max_nodes:
        return f"it needs {nodes} nodes and the limit is {partition.max_nodes}"
    return ""


def choose_partition(cluster: Cluster, request: Request) -> Partition:
    """Return the partition a request goes to: the one it names, or the first preferred one that fits.

    Parameters
    ----------
    cluster
        The cluster; its partitions are in order of preference.
    request
        What is asked for. A partition that it names is checked too; one that the cluster does not list is
        taken on trust.

    Raises
    ------
    NoPartitionFits
        With a sentence for each partition that says why not.
    """
    named = [one for one in cluster.partitions if one.name == request.partition]
    if request.partition and not named:
        return Partition(name=request.partition, gpus_per_node=None, needs_gpu=False)
    reasons: dict[str, str] = {}
    for partition in named or cluster.partitions:
        reason = why_not(partition, request)
        if not reason and partition.only_by_name and not named:
            reason = "it is only used when it is named"
        if not reason:
            return partition
        reasons[partition.name] = reason
    sentences = "; ".join(f"'{name}': {reason}" for name, reason in reasons.items())
    raise NoPartitionFits(
        f"'{request.name}' fits into no partition of {cluster.name}. {sentences}.",
        reasons=reasons,
        hint="Ask for less, or name a partition with --partition.",
    )


def taken(partition: Partition, request: Request) -> tuple[int, int]:
    """Return the cores and the GPUs that a request takes up, and pays for: whole nodes where no less is given away.

    What the partition can't hold, and was sent there all the same, counts as it was asked for.
    """
    if not partition.exclusive or why_not(partition, request):
        return request.cores, request.total_gpus
    nodes = nodes_needed(partition, request)
    return nodes * (partition.cpus_per_node or 0) or request.cores, nodes * (partition.gpus_per_node or 0)


def _size(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


def _hours(seconds: int) -> str:
    return f"{seconds / 3600:.3g} h"
