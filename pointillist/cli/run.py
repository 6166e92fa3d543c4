"""``run``: run what is eligible on this machine, until nothing is."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

from pointillist.cli.arguments import add_ignored, count, count_or_all, count_or_none, gigabytes, limit
from pointillist.cli.documents import add_json, print_document
from pointillist.cli.progress import observer_for
from pointillist.cli.selectors import add_selectors, selected
from pointillist.errors import EXIT_AGAIN, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from pointillist.execution.planning import chosen_definition, mention_left_out, plan_for, unanswered
from pointillist.execution.running.machine import detect
from pointillist.execution.running.terms import Rules, Summary, at_most
from pointillist.execution.runs import ORDERS, pretended, ranking, start
from pointillist.state.plan import Plan
from pointillist.state.slices import count_cores
from pointillist.state.tasks import State, Task
from pointillist.wording import counted, sentence

if TYPE_CHECKING:
    from collections.abc import Collection

    from pointillist.state.journal import Attempt
    from pointillist.state.selection import Selection
    from pointillist.study import Study

EXAMPLES = """\
  python project.py run                    everything, until nothing is eligible
  python project.py run --parallel         as many tasks at once as there are cores
  python project.py run -o train -n 3      three tasks of one operation
"""

SCHEMA = "pointillist/run/1"

SHOWN_FAILURES = 5
SHOWN_LINES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("-n", "--num", type=limit, metavar="N", help="start at most N tasks; -1 for no limit")
    parser.add_argument(
        "-p",
        "--parallel",
        type=count_or_all,
        nargs="?",
        const=0,
        metavar="N",
        help="run up to N tasks at once, within the cores, GPUs and memory there are; without N or by -1 one a core",
    )
    parser.add_argument("--pretend", action="store_true", help="print the command lines, run nothing")
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")
    add_json(parser)
    failing = parser.add_argument_group("when tasks fail")
    failing.add_argument("--retry-failed", action="store_true", help="try tasks again that failed in an earlier run")
    failing.add_argument("--retries", type=count_or_none, metavar="N", help="try each failing task up to N times more")
    failing.add_argument("-t", "--timeout", type=_seconds, metavar="S", help="stop a task after S seconds; -1: never")
    failing.add_argument("--fail-fast", action="store_true", help="start nothing more after the first failure")
    failing.add_argument("--keep-going", action="store_true", help="go on with the others; this is the default")
    machine = parser.add_argument_group("what this machine has, instead of what is detected")
    machine.add_argument("--cores", type=count, metavar="N", help="processor cores")
    machine.add_argument("--gpus", type=count_or_none, metavar="N", help="GPUs")
    machine.add_argument("--memory", type=gigabytes, metavar="GB", help="memory, in gigabytes or as 512m")
    order = parser.add_argument_group("order and conditions")
    order.add_argument("--order", choices=ORDERS, default="none", help="which eligible task comes first")
    order.add_argument(
        "--num-passes", type=int, default=1, metavar="N", help="how often one task may run; -1 for any number"
    )
    add_ignored(order, "--ignore-conditions", "which conditions not to ask")
    for flag in ("--progress", "--switch-to-project-root"):  # what they asked for is always done
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Run tasks and say what became of them."""
    if arguments.pretend:
        return _pretend(project, arguments)
    # What tasks print is no part of the document.
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        code, summary = _run(project, arguments)
    if arguments.json:
        print_document(SCHEMA, exit_code=code, **document(summary))
    return code


def document(summary: Summary) -> dict[str, Any]:
    """Return what became of a run as plain data."""

    def entries(ended: list[tuple[Task, Attempt]]) -> list[dict[str, Any]]:
        return [_task(task) | {"attempt": attempt.as_json()} for task, attempt in ended]

    return {
        "completed": [_task(task) for task in summary.completed],
        "ended": entries(summary.ended),
        "failed": entries(summary.failed),
        "interrupted": entries(summary.interrupted),
        "elsewhere": [_task(task) for task in summary.elsewhere],
        "too_large": [_task(task) | {"reason": why} for why, tasks in summary.too_large.items() for task in tasks],
        "was_interrupted": summary.was_interrupted,
    }


def _task(task: Task) -> dict[str, Any]:
    return {"operation": task.operation.name, "aggregate": task.aggregate.id}


def _asked_for(project: Study, arguments: argparse.Namespace) -> tuple[Plan, Selection]:
    definition = chosen_definition(project, arguments.operation, arguments.ignore_conditions)
    plan = plan_for(project, definition, None if arguments.filter else arguments.job_id)
    return plan, selected(project, plan, arguments)


def _pretend(project: Study, arguments: argparse.Namespace) -> int:
    """Print the command lines that would be run."""
    plan, selection = _asked_for(project, arguments)
    commands = pretended(
        project, plan, selection, arguments.num, retry_failed=arguments.retry_failed, order=arguments.order
    )
    if arguments.json:
        print_document(SCHEMA, commands=commands)
    elif commands:
        print("\n".join(commands))
    mention_left_out(plan)
    return EXIT_OK


def _run(project: Study, arguments: argparse.Namespace) -> tuple[int, Summary]:
    """Run tasks, say on standard error what became of them, and return the exit code and the same as data."""
    plan, selection = _asked_for(project, arguments)
    if selection.aggregate_ids is None:
        tasks: Collection[Task] = plan.all_tasks()
        failed_before = list(plan.tasks_in({State.FAILED}))
    else:
        tasks = [task for task in plan.tasks() if selection.wants(task)]
        failed_before = [task for task in tasks if plan.state(task) is State.FAILED]
    mention_left_out(plan)
    if not tasks:
        print("There are no jobs yet. init.py makes them: python init.py", file=sys.stderr)
        return EXIT_OK, Summary()
    observer = observer_for(plan, tasks, show_bar=not arguments.no_progress)
    with observer:
        summary = start(project, plan, selection, _rules(project, plan, arguments), observer=observer)
    _report(project, summary, observer.seconds, [] if arguments.retry_failed else failed_before)
    if not summary.started and not summary.too_large:
        complete = sum(plan.state(task) is State.COMPLETED for task in tasks)
        print(
            f"Nothing to do: {complete} of {counted(len(tasks), 'task is', 'tasks are')} complete, none is eligible.",
            file=sys.stderr,
        )
    if summary.goes_on:
        return EXIT_AGAIN, summary
    if summary.was_interrupted:
        return EXIT_INTERRUPTED, summary
    is_bad = summary.failed or summary.too_large or unanswered(plan, selection)
    return EXIT_FAILED if is_bad else EXIT_OK, summary


def _rules(project: Study, plan: Plan, arguments: argparse.Namespace) -> Rules:
    """Return how the options say to go about it.

    A task that runs alone may take what it wants, whatever it declares; slots are counted when tasks run at once, or
    when the user says how many there are.
    """
    slots = 1 if arguments.parallel is None else arguments.parallel or arguments.cores or count_cores()
    said = {"cores": arguments.cores, "gpus": arguments.gpus, "memory_gb": arguments.memory}
    has_limits = arguments.parallel is not None or any(value is not None for value in said.values())
    return Rules(
        slots=slots,
        num=arguments.num,
        passes=arguments.num_passes,
        retries=arguments.retries,
        retry_failed=arguments.retry_failed,
        fail_fast=arguments.fail_fast,
        timeout_s=arguments.timeout,
        machine=detect(processes=slots, **said) if has_limits else None,
        priority=ranking(project, plan, arguments.order),
    )


def _report(project: Study, summary: Summary, seconds: float, failed_before: list[Task]) -> None:
    """Say on standard error what became of a run, the most important last."""
    for task, attempt in summary.ended:
        if attempt.message:
            print(sentence(f"{task}: {attempt.message}"), file=sys.stderr)
    if summary.elsewhere:
        number = counted(len(summary.elsewhere), "task is", "tasks are")
        print(f"{number} being worked on by another process.", file=sys.stderr)
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
    for reason, tasks in summary.too_large.items():
        more = f" and {len(tasks) - 1} more" if len(tasks) > 1 else ""
        print(
            f"{tasks[0]}{more} can't run here: {reason}. --cores, --gpus and --memory say otherwise.", file=sys.stderr
        )
    if failed_before and not summary.failed:
        number = counted(len(failed_before), "task failed earlier and was", "tasks failed earlier and were")
        print(f"{number} not tried again: run --retry-failed does.", file=sys.stderr)
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


def _show_failure(project: Study, task: Task, attempt: Attempt) -> None:
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


def _seconds(text: str) -> float | None:
    try:
        seconds = at_most(float(text))
    except ValueError:
        seconds = 0.0
    if seconds is not None and not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return seconds
