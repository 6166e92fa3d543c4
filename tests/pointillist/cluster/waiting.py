"""What tests with a real queue ask of it and of the study."""

from __future__ import annotations

import json
from typing import Any

from slurm_service import SlurmService


def states(study: Any) -> dict[str, set[str]]:
    """Return the states that tasks of each operation are in."""
    found: dict[str, set[str]] = {}
    for task in json.loads(study.cli("status", "--json").stdout)["tasks"]:
        found.setdefault(task["operation"], set()).add(task["state"])
    return found


def queue_is_empty(slurm: SlurmService) -> bool:
    """Whether Slurm has nothing left to do."""
    return slurm.queue() == []
