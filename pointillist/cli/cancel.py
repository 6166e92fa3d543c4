"""``cancel``: take tasks back from the scheduler."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from pointillist.cli import on_cluster
from pointillist.cli.selectors import add_selectors, selected
from pointillist.errors import EXIT_OK, SelectionError
from pointillist.execution.submission import submitting
from pointillist.state.submissions import OnCluster

if TYPE_CHECKING:
    from pointillist.project import FlowProject

EXAMPLES = """\
  python project.py cancel -o train           all tasks of one operation that are on the cluster
  python project.py cancel --all              every cluster job of this project
  python project.py cancel -j 3f2a --pretend  only say which cluster jobs that would be
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("-a", "--all", action="store_true", help="every cluster job of this project")
    parser.add_argument("--pretend", action="store_true", help="say which cluster jobs, cancel nothing")


def run(project: FlowProject, arguments: argparse.Namespace) -> int:
    """Cancel cluster jobs."""
    if not arguments.all and arguments.operation is arguments.job_id is arguments.filter is None:
        raise SelectionError("Nothing is selected.", hint="Select tasks with -o, -j or -f, or cancel all with --all.")
    with submitting(project):
        plan = project.plan()
        selection = selected(project, plan, arguments)
        found: dict[str, OnCluster] = {}
        tasks, others, nameless = 0, 0, 0
        for task in plan.tasks():
            where = plan.on_cluster(task.key)
            if where is None or not selection.wants(task):
                continue
            if where.submission.id is None:
                nameless += 1
                continue
            tasks += 1
            found[where.id] = where
        troubles = on_cluster.troubles(plan)
        for where in found.values():
            element = where.submission.elements[where.element]
            wanted = [key for key in element if (one := plan.find(*key)) is not None and selection.wants(one)]
            others += len(element) - len(wanted)
        if nameless:
            print(f"{nameless} tasks are just being submitted and can't be cancelled yet.", file=sys.stderr)
        if troubles and not found:
            raise troubles[0]
        if not found:
            print("No selected task is on the cluster.", file=sys.stderr)
            return EXIT_OK
        for cluster_id in _short(found):
            print(cluster_id)
        with_others = f", and with them {others} others of the same bundles" if others else ""
        if arguments.pretend:
            print(f"{tasks} tasks{with_others} would be cancelled.", file=sys.stderr)
            return EXIT_OK
        project._environment.get_scheduler().cancel(_short(found))
    print(f"Cancelled {tasks} tasks{with_others}.", file=sys.stderr)
    return EXIT_OK


def _short(found: dict[str, OnCluster]) -> list[str]:
    """Return the ids, the one of a whole array instead of those of all its elements."""
    ids: list[str] = []
    by_submission: dict[str, list[OnCluster]] = {}
    for where in found.values():
        by_submission.setdefault(where.submission.name, []).append(where)
    for wheres in by_submission.values():
        submission = wheres[0].submission
        whole = {where.element for where in wheres} >= set(submission.open_elements())
        ids += [str(submission.id)] if whole else [where.id for where in wheres]
    return ids
