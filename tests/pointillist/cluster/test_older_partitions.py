"""Environments that describe their partitions as signac-flow's do."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pointillist.cluster.schedulers.requests import Request
from pointillist.environment import ComputeEnvironment, _NodeTypes, _PartitionConfig
from pointillist.errors import SubmitError

CONFIG = _PartitionConfig(
    cpus_per_node={"default": 40, "shared": 16, "whole": 10},
    gpus_per_node={"gpu": 4},
    node_types={"shared": _NodeTypes.SHARED, "whole": _NodeTypes.WHOLENODE},
)


class Lab(ComputeEnvironment):
    _partition_config: ClassVar[Any] = CONFIG


@pytest.mark.parametrize(
    ("wish", "nodes"),
    [
        ({"partition": "shared", "processes": 16}, 1),
        ({"partition": "elsewhere", "processes": 41}, 2),
        ({"processes": 40}, 1),
        ({"processes": 3, "nodes": 3}, 3),
        ({"partition": "whole", "processes": 9}, 1),
        ({"partition": "whole", "processes": 30}, 3),
        ({"partition": "gpu", "gpus": 5, "processes": 1}, 2),
        ({"partition": "gpu", "processes": 4, "gpus_per_process": 1}, 1),
    ],
)
def test_the_nodes_are_counted(wish: dict[str, Any], nodes: int) -> None:
    assert Lab.place(Request(name="a", **wish)).nodes == nodes


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"partition": "shared", "gpus": 1}, "'shared': it asks for GPUs and it has none"),
        ({"gpus": 1}, "the default partition: it asks for GPUs"),
        ({"partition": "gpu"}, "'gpu': it asks for no GPU"),
        ({"partition": "shared", "processes": 17}, "17 cores, which is more than one node"),
        ({"partition": "whole", "processes": 8}, "would use 8 of 10 cores"),
        ({"partition": "whole", "processes": 17}, "would use 17 of 20 cores"),
    ],
)
def test_what_does_not_fit_is_refused(wish: dict[str, Any], words: str) -> None:
    with pytest.raises(SubmitError, match=words) as caught:
        Lab.place(Request(name="a", **wish))
    assert "--force" in caught.value.hint


def test_without_tables_anything_goes_that_needs_no_gpu() -> None:
    assert _PartitionConfig().place(Request(name="a", processes=1000)).nodes == 1
    with pytest.raises(SubmitError):
        _PartitionConfig().place(Request(name="a", gpus=1))
