"""Which partition a request goes to, and why not to the others."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointillist.cluster.clusters import CLUSTERS
from pointillist.cluster.errors import NoPartitionFits
from pointillist.cluster.partitions import (
    Cluster,
    Partition,
    choose_partition,
    nodes_needed,
    taken,
    why_not,
)
from pointillist.cluster.schedulers import SCHEDULERS
from pointillist.cluster.schedulers.requests import Request

GIB = 2**30
TOY = Cluster(
    name="Toy",
    hostname_pattern=r"\.toy$",
    partitions=(
        Partition(name="shared", cpus_per_node=16, memory_per_node_bytes=64 * GIB, max_walltime_s=3600, max_nodes=1),
        Partition(name="whole", cpus_per_node=16, memory_per_node_bytes=64 * GIB, max_nodes=4, exclusive=True),
        Partition(name="gpu", cpus_per_node=16, gpus_per_node=4, memory_per_node_bytes=64 * GIB),
        Partition(name="huge", cpus_per_node=16, memory_per_node_bytes=1024 * GIB, only_by_name=True),
    ),
)


@pytest.mark.parametrize(
    ("wish", "expected"),
    [
        ({}, "shared"),
        ({"processes": 16}, "shared"),
        ({"processes": 17}, "whole"),
        ({"walltime_s": 3601}, "whole"),
        ({"gpus": 1}, "gpu"),
        ({"processes": 8, "gpus_per_process": 1}, "gpu"),
        ({"partition": "huge"}, "huge"),
        ({"partition": "secret"}, "secret"),
    ],
)
def test_first_partition_that_fits_is_chosen(wish: dict[str, object], expected: str) -> None:
    assert choose_partition(TOY, Request(name="a", **wish)).name == expected


def test_refusal_says_for_each_partition_why_not() -> None:
    with pytest.raises(NoPartitionFits) as caught:
        choose_partition(TOY, Request(name="train", memory_bytes=100 * GIB))
    assert caught.value.reasons == {
        "shared": "a process asks for 100 GiB and a node has 64 GiB",
        "whole": "a process asks for 100 GiB and a node has 64 GiB",
        "gpu": "it is for jobs that use GPUs and none is asked for",
        "huge": "it is only used when it is named",
    }
    assert "'huge': it is only used when it is named." in str(caught.value)
    assert caught.value.hint


def test_partition_that_is_named_is_checked_too() -> None:
    with pytest.raises(NoPartitionFits) as caught:
        choose_partition(TOY, Request(name="a", partition="shared", gpus=2))
    assert caught.value.reasons == {"shared": "it has no GPUs and 2 GPUs are asked for"}


@pytest.mark.parametrize(
    ("partition", "wish", "expected"),
    [
        ("shared", {"processes": 3, "threads_per_process": 2}, (6, 0)),
        ("whole", {"processes": 3, "threads_per_process": 2}, (16, 0)),
        ("whole", {"processes": 3, "threads_per_process": 8}, (32, 0)),
        ("whole", {"processes": 90}, (90, 0)),
        ("gpu", {"processes": 2, "gpus_per_process": 1}, (2, 2)),
        ("whole gpu", {"processes": 2, "gpus_per_process": 1}, (16, 4)),
        ("unknown", {"processes": 2, "gpus_per_process": 1}, (2, 8)),
    ],
)
def test_whole_nodes_are_counted_where_no_less_is_given_away(
    partition: str, wish: dict[str, Any], expected: tuple[int, int]
) -> None:
    known = {one.name: one for one in TOY.partitions} | {
        "whole gpu": Partition(name="whole gpu", cpus_per_node=16, gpus_per_node=4, exclusive=True),
        "unknown": Partition(name="unknown", gpus_per_node=8, exclusive=True),
    }
    assert taken(known[partition], Request(name="a", **wish)) == expected


def test_processes_do_not_straddle_nodes() -> None:
    node = Partition(name="a", cpus_per_node=16)
    assert nodes_needed(node, Request(name="a", processes=4, threads_per_process=6)) == 2


@given(
    processes=st.integers(1, 300),
    threads=st.integers(1, 300),
    gpus=st.integers(0, 9),
    gib=st.integers(1, 5000),
    hours=st.integers(1, 600),
)
def test_what_is_chosen_holds_the_request(processes: int, threads: int, gpus: int, gib: int, hours: int) -> None:
    request = Request(
        name="a",
        processes=processes,
        threads_per_process=threads,
        gpus_per_process=gpus,
        memory_bytes=gib * GIB,
        walltime_s=hours * 3600,
    )
    for cluster in (TOY, *CLUSTERS):
        try:
            chosen = choose_partition(cluster, request)
        except NoPartitionFits as caught:
            refusal = caught
            chosen = None
        if chosen is None:
            assert set(refusal.reasons) == {one.name for one in cluster.partitions}
            assert all(refusal.reasons.values())
            continue
        assert why_not(chosen, request) == ""
        nodes = nodes_needed(chosen, request)
        if chosen.cpus_per_node is not None:
            assert nodes * chosen.cpus_per_node >= request.cores
        if chosen.memory_per_node_bytes is not None:
            assert nodes * chosen.memory_per_node_bytes >= gib * GIB
        if chosen.gpus_per_node is not None:
            assert nodes * chosen.gpus_per_node >= request.total_gpus


@pytest.mark.parametrize("cluster", CLUSTERS, ids=lambda cluster: cluster.name)
def test_packaged_cluster_is_whole(cluster: Cluster) -> None:
    assert cluster.scheduler in SCHEDULERS
    assert cluster.source
    re.compile(cluster.hostname_pattern)
    names = [one.name for one in cluster.partitions]
    assert len(names) == len(set(names))
    assert not cluster.partitions[0].only_by_name
    assert choose_partition(cluster, Request(name="a", walltime_s=600)).gpus_per_node is not None
    for partition in cluster.partitions:
        unknown = [one for one in (partition.cpus_per_node, partition.gpus_per_node) if one is None]
        assert partition.note or not unknown, f"{partition.name}: a fact is missing and nothing is said"


@pytest.mark.parametrize(
    ("hostname", "environment", "expected"),
    [
        ("gl-login1.arc-ts.umich.edu", {}, "Great Lakes"),
        ("login03.anvil.rcac.purdue.edu", {}, "Anvil"),
        ("bridges2-login011.bridges2.psc.edu", {}, "Bridges-2"),
        ("dt-login02.delta.ncsa.illinois.edu", {}, "Delta"),
        ("login01.expanse.sdsc.edu", {}, "Expanse"),
        ("login1", {"LMOD_SYSTEM_NAME": "frontier"}, "Frontier"),
        ("login1", {"LMOD_SYSTEM_NAME": "andes"}, "Andes"),
        ("picotte001.cm.cluster", {}, "Picotte"),
        ("ln0001.msi.umn.edu", {}, "Mangi"),
        ("login-phoenix-slurm-1.pace.gatech.edu", {}, "Phoenix"),
        ("laptop", {}, None),
    ],
)
def test_cluster_is_told_by_its_login_node(hostname: str, environment: dict[str, str], expected: str | None) -> None:
    found = [cluster.name for cluster in CLUSTERS if cluster.is_here(hostname, environment)]
    assert found == ([] if expected is None else [expected])
