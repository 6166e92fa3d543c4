"""``exec``: execute one operation now, whatever its conditions say."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from pointillist.errors import SelectionError, near_matches
from pointillist.execution.running.direct import execute

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py exec train                for every job
  python project.py exec train 3f2a9c         for one; ids may be abbreviated
  python project.py exec report agg-81c0d4    for one aggregate
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("operation", metavar="OPERATION", help="the operation's name")
    parser.add_argument("ids", nargs="*", metavar="ID", help="jobs or aggregates; all when none is given")


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Execute an operation."""
    operation = project.operations.get(arguments.operation)
    if operation is None:
        raise SelectionError(
            f"There is no operation {arguments.operation!r}.",
            hint=near_matches(arguments.operation, project.operations),
        )
    return execute(project, operation, arguments.ids)
