"""``cancel``: take tasks back from the scheduler."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pointillist.cli import on_cluster
from pointillist.cli.selectors import add_selectors, plan_of_selected
from pointillist.errors import EXIT_OK, EXIT_SCHEDULER, SelectionError
from pointillist.execution.submitting.submission import submitting
from pointillist.state.submissions import OnCluster
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.cluster.schedulers.base import Scheduler
    from pointillist.study import Study

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


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Cancel cluster jobs."""
    has_selectors = not (arguments.operation is arguments.job_id is arguments.filter is None)
    if not arguments.all and not has_selectors:
        raise SelectionError("Nothing is selected.", hint="Select tasks with -o, -j or -f, or cancel all with --all.")
    with submitting(project):
        plan, selection = plan_of_selected(project, arguments)
        present = on_cluster.present(plan)
        if has_selectors:
            wanted = {task.key for task in plan.tasks() if selection.wants(task)}
            present = {key: where for key, where in present.items() if key in wanted}
        chosen = _chosen(present.values())
        troubles = on_cluster.troubles(plan)
        if chosen.nameless:
            print(
                f"{counted(chosen.nameless, 'task is', 'tasks are')} just being submitted and can't be cancelled yet.",
                file=sys.stderr,
            )
        if troubles and not chosen.found:
            raise troubles[0]
        if not chosen.found:
            print("No selected task is on the cluster.", file=sys.stderr)
            return EXIT_OK
        scheduler = project._environment.get_scheduler()
        elsewhere = _set_aside(chosen, scheduler)
        if elsewhere:
            words = ", ".join(sorted({where.submission.cluster for where in elsewhere}))
            number = counted(len(elsewhere), "cluster job is", "cluster jobs are")
            print(f"{number} on cluster {words} and can't be cancelled here.", file=sys.stderr)
        if not chosen.found:
            return EXIT_SCHEDULER
        ids = _short(chosen.found)
        print("\n".join(ids))
        others = chosen.others
        with_others = f", and with them {counted(others, 'other')} of the same bundles" if others else ""
        if arguments.pretend:
            print(f"{counted(chosen.tasks, 'task')}{with_others} would be cancelled.", file=sys.stderr)
            return EXIT_OK
        scheduler.cancel(ids)
    print(f"Cancelled {counted(chosen.tasks, 'task')}{with_others}.", file=sys.stderr)
    return EXIT_OK


@dataclass
class _Chosen:
    """Elements on the cluster, by submission and number, with the selected tasks of each."""

    found: dict[tuple[str, int], OnCluster] = field(default_factory=dict)
    counts: Counter[tuple[str, int]] = field(default_factory=Counter)
    nameless: int = 0

    @property
    def tasks(self) -> int:
        """How many selected tasks there are."""
        return sum(self.counts[key] for key in self.found)

    @property
    def others(self) -> int:
        """How many tasks are in the same cluster jobs."""
        return sum(len(where.submission.elements[where.element]) for where in self.found.values()) - self.tasks


def _chosen(tasks: Iterable[OnCluster]) -> _Chosen:
    """Put together the places of some tasks."""
    chosen = _Chosen()
    for where in tasks:
        if where.submission.id is None:
            chosen.nameless += 1
            continue
        key = where.submission.name, where.element
        chosen.found[key] = where
        chosen.counts[key] += 1
    return chosen


def _set_aside(chosen: _Chosen, scheduler: Scheduler) -> list[OnCluster]:
    """Take out what is on another cluster than ours: the same id is another job here."""
    if not any(where.submission.cluster for where in chosen.found.values()):
        return []
    here = scheduler.cluster_name()
    aside = {key: where for key, where in chosen.found.items() if where.submission.cluster not in ("", here)}
    for key in aside:
        del chosen.found[key]
    return list(aside.values())


def _short(found: Mapping[tuple[str, int], OnCluster]) -> list[str]:
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
