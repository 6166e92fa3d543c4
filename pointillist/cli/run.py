"""``run``: run what is eligible on this machine, until nothing is."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from pointillist.cli.progress import observer_for
from pointillist.cli.selectors import add_selectors, selected
from pointillist.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from pointillist.execution.api import pretended, start
from pointillist.execution.local import Summary
from pointillist.state.plan import State, Task

if TYPE_CHECKING:
    from pointillist.project import FlowProject
    from pointillist.state.journal import Attempt

EXAMPLES = """\
  python project.py run                    everything, until nothing is eligible
  python project.py run --parallel         as many tasks at once as there are cores
  python project.py run -o train -n 3      three tasks of one operation
"""

SHOWN_FAILURES = 5
SHOWN_LINES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("-n", "--num", type=_count, metavar="N", help="start at most N tasks")
    parser.add_argument(
        "-p",
        "--parallel",
        type=_count,
        nargs="?",
        const=0,
        default=1,
        metavar="N",
        help="run N tasks at once; without N as many as there are cores",
    )
    parser.add_argument("--pretend", action="store_true", help="print the command lines, run nothing")
    parser.add_argument("--retry-failed", action="store_true", help="try failed tasks again")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def run(project: FlowProject, arguments: argparse.Namespace) -> int:
    """Run tasks and say what became of them."""
    plan = project.plan()
    selection = selected(project, plan, arguments)
    if arguments.pretend:
        for line in pretended(project, plan, selection, arguments.num, retry_failed=arguments.retry_failed):
            print(line)
        return EXIT_OK
    tasks = [task for task in plan.tasks() if selection.wants(task)]
    for error in plan.workspace.broken.values():
        print(f"Left out: {error} {error.hint}", file=sys.stderr)
    if not tasks:
        print("There are no jobs yet. init.py makes them: python init.py", file=sys.stderr)
        return EXIT_OK
    states = {task.key: plan.state(task) for task in tasks}
    for message in dict.fromkeys(str(error) for error in plan.errors.values()):
        print(f"Left out: {message}", file=sys.stderr)
    failed_before = [task for task in tasks if states[task.key] is State.FAILED]
    observer = observer_for(plan, tasks, show_bar=not arguments.no_progress)
    with observer:
        summary = start(
            project,
            plan,
            selection,
            arguments.parallel or len(os.sched_getaffinity(0)),
            num=arguments.num,
            retry_failed=arguments.retry_failed,
            observer=observer,
        )
    _report(project, summary, observer.seconds, [] if arguments.retry_failed else failed_before)
    if not summary.started:
        complete = sum(plan.state(task) is State.COMPLETED for task in tasks)
        print(f"Nothing to do: {complete} of {len(tasks)} tasks are complete, none is eligible.", file=sys.stderr)
    if summary.was_interrupted:
        return EXIT_INTERRUPTED
    return EXIT_FAILED if summary.failed else EXIT_OK


def _report(project: FlowProject, summary: Summary, seconds: float, failed_before: list[Task]) -> None:
    """Say on standard error what became of a run, the most important last."""
    for task, attempt in summary.ended:
        if attempt.message:
            print(f"{task}: {attempt.message}.", file=sys.stderr)
    if summary.elsewhere:
        print(f"{len(summary.elsewhere)} tasks are being worked on by another process.", file=sys.stderr)
    alike: dict[tuple[str, str], list[tuple[Task, Attempt]]] = {}
    for task, attempt in summary.failed:
        alike.setdefault((task.operation.name, attempt.message), []).append((task, attempt))
    for entries in list(alike.values())[:SHOWN_FAILURES]:
        _show_failure(project, *entries[0])
        if len(entries) > 1:
            print(
                f"  {len(entries) - 1} more failed in the same way: `python project.py logs` shows them.",
                file=sys.stderr,
            )
    if len(alike) > SHOWN_FAILURES:
        print("... and others: `python project.py logs` shows them.", file=sys.stderr)
    if failed_before and not summary.failed:
        print(
            f"{len(failed_before)} tasks failed earlier and were not tried again: run --retry-failed does.",
            file=sys.stderr,
        )
    if not summary.started:
        return
    counts = [
        f"{len(entries)} {word}"
        for entries, word in (
            (summary.completed, "completed"),
            (summary.ended, "ended"),
            (summary.interrupted, "interrupted"),
            (summary.failed, "failed"),
        )
        if entries
    ]
    print(f"{', '.join(counts)} in {seconds:.1f} s.", file=sys.stderr)
    if summary.failed:
        print("Mend the cause, then: python project.py run --retry-failed", file=sys.stderr)


def _show_failure(project: FlowProject, task: Task, attempt: Attempt) -> None:
    print(f"\n{task} failed: {attempt.message}\n  log: {attempt.log}", file=sys.stderr)
    for line in last_lines(os.path.join(project.path, attempt.log), SHOWN_LINES):
        print(f"  | {line}", file=sys.stderr)


def last_lines(path: str, count: int) -> list[str]:
    """Return the last lines of a text file, without reading all of a large one."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 64 * 1024))
            return file.read().decode(errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _count(text: str) -> int:
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number
