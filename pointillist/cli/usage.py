"""``usage``: what tasks took, beside what their operations ask for."""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import TYPE_CHECKING, Any

from pointillist.cli.documents import add_json, print_document
from pointillist.cli.selectors import add_selectors, plan_of_selected
from pointillist.errors import EXIT_NOTHING_SELECTED, EXIT_OK
from pointillist.state.journal import Attempt, Outcome

if TYPE_CHECKING:
    from pointillist.definition.operations import Operation
    from pointillist.study import Study

EXAMPLES = """\
  python project.py usage                  of the last attempt at each task, summed up by operation
  python project.py usage -o train -j 3f2a of one task
  python project.py usage --json | jq .operations[].cpu_s_total
"""

SCHEMA = "pointillist/usage/1"
ASKED = ("np", "omp_num_threads", "nranks", "ngpu", "memory", "walltime")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    add_json(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Show what tasks took."""
    plan, selection = plan_of_selected(project, arguments)
    attempts: dict[str, list[Attempt]] = {}
    for task in plan.tasks():
        attempt = plan.journal.last(*task.key) if selection.wants(task) else None
        if attempt is not None and attempt.outcome in (Outcome.COMPLETED, Outcome.ENDED):
            attempts.setdefault(task.operation.name, []).append(attempt)
    rows = [summary(plan.definition.operations[name], entries) for name, entries in attempts.items()]
    if arguments.json:
        print_document(SCHEMA, operations=rows)
        return EXIT_OK if rows else EXIT_NOTHING_SELECTED
    if not rows:
        print("Nothing has been run yet.")
        return EXIT_NOTHING_SELECTED
    from pointillist.cli.tables import Table, has_colour, render

    columns = [
        "operation",
        "tasks",
        "CPU s each",
        "CPU s in all",
        "longest s",
        "peak memory",
        "cluster jobs",
        "asks for",
    ]
    table = Table(columns, [_cells(row) for row in rows], numbers=columns[1:-1])
    print(render([table], colour=has_colour(sys.stdout)))
    return EXIT_OK


def summary(operation: Operation, attempts: list[Attempt]) -> dict[str, Any]:
    """Sum up what the tasks of an operation took.

    Returns
    -------
    dict
        ``cpu_s_median``, ``cpu_s_total`` and ``peak_memory_bytes`` (None where it is not known), ``elapsed_s_max`` from
        start to end (for a batch from the start of the batch), ``cluster_jobs`` (how many),
        ``hosts``, and ``asks_for``: the directives that are plain values.
    """
    cpu = [attempt.cpu_s for attempt in attempts if attempt.cpu_s is not None]
    memory = [attempt.peak_memory_bytes for attempt in attempts if attempt.peak_memory_bytes is not None]
    return {
        "operation": operation.name,
        "tasks": len(attempts),
        "cpu_s_median": statistics.median(cpu) if cpu else None,
        "cpu_s_total": sum(cpu) if cpu else None,
        "elapsed_s_max": max((attempt.ended or attempt.started) - attempt.started for attempt in attempts),
        "peak_memory_bytes": max(memory, default=None),
        "cluster_jobs": len({attempt.cluster_job.id for attempt in attempts if attempt.cluster_job is not None}),
        "hosts": sorted({attempt.host for attempt in attempts}),
        "asks_for": {
            key: "by job" if callable(value) else value
            for key, value in operation.directives.items()
            if key in ASKED and (callable(value) or isinstance(value, (int, float, str)))
        },
    }


USAGE_COLUMNS = ["s", "CPU s", "peak memory"]
"""What an attempt took: from start to end, of processor time, and of memory at most."""


def usage_cells(attempt: Attempt | None) -> list[str]:
    """Return the cells that say what an attempt took; empty ones where that is not known."""
    if attempt is None or attempt.ended is None:
        return ["", "", ""]
    elapsed_s = f"{attempt.ended - attempt.started:.1f}"
    return [elapsed_s, _number(attempt.cpu_s, "{:.2f}", ""), _memory(attempt.peak_memory_bytes, "")]


def _number(value: float | None, text: str, unknown: str = "-") -> str:
    return unknown if value is None else text.format(value)


def _memory(value: int | None, unknown: str = "-") -> str:
    return unknown if value is None else f"{value / 1024**2:.0f} MiB"


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        row["operation"],
        str(row["tasks"]),
        _number(row["cpu_s_median"], "{:.2f}"),
        _number(row["cpu_s_total"], "{:.1f}"),
        f"{row['elapsed_s_max']:.1f}",
        _memory(row["peak_memory_bytes"]),
        str(row["cluster_jobs"] or "-"),
        ", ".join(f"{key} {value}" for key, value in row["asks_for"].items()),
    ]
