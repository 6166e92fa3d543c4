"""Answers as one JSON document with a versioned schema; ``docs/json.md`` describes each."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import Task


def add_json(parser: argparse._ActionsContainer) -> None:
    """Add ``--json`` to a command."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def print_document(schema: str, **content: Any) -> None:
    """Print one document on standard output."""
    json.dump({"schema": schema, **content}, sys.stdout, indent=2)
    sys.stdout.write("\n")


def task_document(plan: Plan, task: Task) -> dict[str, Any]:
    """Return which task it is, and its state."""
    return {
        "operation": task.operation.name,
        "aggregate": task.aggregate.id,
        "jobs": list(task.aggregate.job_ids),
        "state": plan.state(task).value,
    }
