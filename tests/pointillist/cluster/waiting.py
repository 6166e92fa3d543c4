"""What tests with a real queue wait for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from slurm_service import SlurmService


def states(study: Any) -> dict[str, set[str]]:
    """Return the states that tasks of each operation are in."""
    found: dict[str, set[str]] = {}
    for task in json.loads(study.cli("status", "--json").stdout)["tasks"]:
        found.setdefault(task["operation"], set()).add(task["state"])
    return found


def until(is_so: Callable[[], object], patience_s: float = 60) -> None:
    """Wait for something; fail when it takes too long."""
    end = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.1)


def queue_is_empty(slurm: SlurmService) -> bool:
    """Whether Slurm has nothing left to do."""
    return slurm.run("squeue", "-h").strip() == ""
