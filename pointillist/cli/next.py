"""``next``: the ids of jobs and aggregates for which an operation could run now, one a line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pointillist.cli.documents import add_json, print_document
from pointillist.definition.registry import Definition
from pointillist.errors import EXIT_OK, SelectionError, near_matches
from pointillist.execution.planning import mention_left_out
from pointillist.state.tasks import State

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py next train
  python project.py next train | head -n 3 | xargs python project.py run -o train -j
  python project.py next train --json | jq -r .aggregates[]
"""

SCHEMA = "pointillist/next/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="OPERATION", help="the name of an operation or group")
    add_json(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Print ids."""
    definition: Definition = project.definition
    if arguments.name not in definition.groups:
        raise SelectionError(
            f"The requested flow operation {arguments.name!r} does not exist.",
            hint=near_matches(arguments.name, definition.groups),
        )
    # One group, so that a name with special characters is no pattern.
    group = definition.groups[arguments.name]
    plan = project.plan(definition.only(group))
    ids = (task.aggregate.id for task in plan.tasks() if plan.state(task) is State.ELIGIBLE)
    unique = list(dict.fromkeys(ids))
    mention_left_out(plan)
    if arguments.json:
        print_document(SCHEMA, operation=group.name, aggregates=unique)
        return EXIT_OK
    for aggregate_id in unique:
        print(aggregate_id)
    return EXIT_OK
