"""``logs``: what tasks printed."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pointillist.cli import on_cluster
from pointillist.cli.arguments import count
from pointillist.cli.documents import add_json, print_document
from pointillist.cli.run import last_lines
from pointillist.cli.selectors import add_selectors, plan_of_selected
from pointillist.errors import EXIT_NOTHING_SELECTED, EXIT_OK
from pointillist.state.tasks import State

if TYPE_CHECKING:
    from collections.abc import Collection

    from pointillist.state.journal import Attempt
    from pointillist.state.plan import Plan
    from pointillist.state.tasks import TaskKey
    from pointillist.study import Study

EXAMPLES = """\
  python project.py logs                   of the tasks that failed
  python project.py logs -o train -j 3f2a  the last attempt at one task
  python project.py logs -j 3f2a --path    only where the logs are
"""

SCHEMA = "pointillist/logs/1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("--path", action="store_true", help="print the paths of the logs only")
    parser.add_argument("--all", action="store_true", help="all attempts, not only the last")
    parser.add_argument("-l", "--lines", type=count, metavar="N", help="only the last N lines of each")
    add_json(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Show logs."""
    plan, selection = plan_of_selected(project, arguments)
    if arguments.operation is arguments.job_id is arguments.filter is None:
        wanted = {task.key for task in plan.tasks_in({State.FAILED})}
        if not wanted:
            print("No task has failed. Select tasks with -o, -j or -f to see their logs.", file=sys.stderr)
            if arguments.json:
                print_document(SCHEMA, attempts=[])
            return EXIT_OK
    else:
        wanted = {task.key for task in plan.tasks() if selection.wants(task)}
    attempts = _attempts(plan, wanted, only_last=not arguments.all)
    if arguments.json:
        print_document(SCHEMA, attempts=[attempt.as_json() for attempt in attempts])
        return EXIT_OK if attempts else EXIT_NOTHING_SELECTED
    if not attempts:
        print("The selected tasks were never attempted.", file=sys.stderr)
        return EXIT_NOTHING_SELECTED
    by_log: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_log.setdefault(attempt.log, []).append(attempt)
    for log, sharing in by_log.items():
        path = os.path.join(project.path, log)
        if arguments.path:
            print(path)
        else:
            print(f"==> {_heading(sharing)}: {log}", file=sys.stderr)
            _copy(path, arguments.lines)
    return EXIT_OK


def _attempts(plan: Plan, wanted: Collection[TaskKey], *, only_last: bool) -> list[Attempt]:
    """Return the attempts at some tasks that have logs, in the order they started, and their last cluster jobs."""
    attempts = [attempt for attempt in plan.journal.attempts() if attempt.key in wanted and attempt.log]
    if only_last:
        last = {attempt.key: attempt for attempt in sorted(attempts, key=lambda attempt: attempt.rank)}
        attempts = [attempt for attempt in attempts if last[attempt.key] is attempt]
    return attempts + on_cluster.logs(plan, sorted(wanted))


def _heading(sharing: list[Attempt]) -> str:
    """Say whose log it is: of one attempt, or of several in one batch."""
    what = sharing[0].aggregate_id if len(sharing) == 1 else f"{len(sharing)} jobs of one batch"
    how = {attempt.outcome.value if attempt.outcome else "not ended" for attempt in sharing}
    return f"{sharing[0].operation} ({what}), {', '.join(sorted(how))}{on_cluster.made_in(sharing[0])}"


def _copy(path: str, lines: int | None) -> None:
    """Copy a log to standard output. A task that printed nothing leaves none."""
    if lines is not None:
        for line in last_lines(path, lines):
            print(line)
        return
    sys.stdout.flush()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(1 << 20):
                sys.stdout.buffer.write(chunk)
    except FileNotFoundError:
        print("(nothing)", file=sys.stderr)
    except OSError as error:
        print(f"The log can't be read: {error.strerror}.", file=sys.stderr)
    sys.stdout.buffer.flush()
