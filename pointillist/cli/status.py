"""``status``: what is done, what can run and what failed."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from pointillist.cli.selectors import add_selectors, selected
from pointillist.errors import EXIT_OK, BrokenJobError, PointillistError, UserConditionError
from pointillist.state.plan import Plan, State, Task

if TYPE_CHECKING:
    from pointillist.project import FlowProject

EXAMPLES = """\
  python project.py status
  python project.py status -d -o train     each task of an operation
  python project.py status --json | jq .operations
"""

SCHEMA = "pointillist/status/1"
ALWAYS_SHOWN = (State.COMPLETED, State.ELIGIBLE, State.WAITING, State.RUNNING, State.FAILED)
BAR_WIDTH = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("-d", "--detailed", action="store_true", help="list each task")
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def run(project: FlowProject, arguments: argparse.Namespace) -> int:
    """Show the status."""
    plan = project.plan()
    selection = selected(project, plan, arguments)
    tasks = [task for task in plan.tasks() if selection.wants(task)]
    job_ids = [i for i in plan.workspace.job_ids if selection.aggregate_ids is None or i in selection.aggregate_ids]
    labels = _labels(plan, job_ids)
    if arguments.json:
        print(json.dumps(_document(project, plan, tasks, job_ids, labels), indent=2))
    else:
        _show(plan, tasks, job_ids, labels, detailed=arguments.detailed)
    return EXIT_OK


def _labels(plan: Plan, job_ids: list[str]) -> dict[str, list[str]]:
    """Return the labels of each job; a job whose label can't be worked out is noted as an error of the plan."""
    worn: dict[str, list[str]] = {}
    for job_id in job_ids:
        worn[job_id] = []
        for label in plan.definition.labels.values():
            try:
                text = label.of(plan.facts, job_id)
            except (BrokenJobError, UserConditionError) as error:
                plan.errors[label.name, job_id] = error
            else:
                if text is not None:
                    worn[job_id].append(text)
    return worn


def _counts(plan: Plan, tasks: list[Task]) -> dict[str, Counter[State]]:
    counts = {task.operation.name: Counter[State]() for task in tasks}
    for task in tasks:
        counts[task.operation.name][plan.state(task)] += 1
    return counts


def _errors(plan: Plan) -> list[PointillistError]:
    """Return each different error once: broken folders, then conditions that could not be answered."""
    errors: dict[str, PointillistError] = {str(error): error for error in plan.workspace.broken.values()}
    for error in plan.errors.values():
        errors.setdefault(str(error), error)
    return list(errors.values())


def _document(
    project: FlowProject, plan: Plan, tasks: list[Task], job_ids: list[str], labels: dict[str, list[str]]
) -> dict[str, Any]:
    counts = _counts(plan, tasks)
    return {
        "schema": SCHEMA,
        "project": project.path,
        "jobs": len(job_ids),
        "operations": [
            {"name": name} | {state.value: count[state] for state in State} for name, count in counts.items()
        ],
        "labels": dict(Counter(text for worn in labels.values() for text in worn)),
        "tasks": [_task_document(plan, task, labels) for task in tasks],
        "errors": [{"message": str(error), "hint": error.hint} for error in _errors(plan)],
    }


def _task_document(plan: Plan, task: Task, labels: dict[str, list[str]]) -> dict[str, Any]:
    attempt = plan.journal.last(*task.key)
    return {
        "operation": task.operation.name,
        "aggregate": task.aggregate.id,
        "jobs": list(task.aggregate.job_ids),
        "state": plan.state(task).value,
        "labels": labels.get(task.aggregate.id, []),
        "last_attempt": attempt.as_json() if attempt else None,
    }


def _show(plan: Plan, tasks: list[Task], job_ids: list[str], labels: dict[str, list[str]], *, detailed: bool) -> None:
    from rich.text import Text

    from pointillist.cli.tables import STATE_STYLES, console, table

    out = console()
    if not job_ids and not plan.workspace.broken:
        out.print("There are no jobs yet. init.py makes them: python init.py")
        return
    counts = _counts(plan, tasks)
    total = sum(counts.values(), Counter[State]())
    shown = [state for state in State if state in ALWAYS_SHOWN or total[state]]
    shown.sort(key=lambda state: ALWAYS_SHOWN.index(state) if state in ALWAYS_SHOWN else len(ALWAYS_SHOWN))

    def cell(state: State, count: int) -> Text:
        return Text(str(count), STATE_STYLES.get(state, "") if count else "dim")

    out.print(f"{len(job_ids)} jobs, {len(tasks)} tasks\n")
    names = [state.value for state in shown]
    rows: list[list[str | Text]] = [
        [name, *(cell(state, count[state]) for state in shown)] for name, count in counts.items()
    ]
    out.print(table(["operation", *names], rows, numbers=names))
    if plan.definition.labels:
        out.print()
        out.print(table(["label", "jobs"], _label_rows(plan, labels, len(job_ids))))
    if detailed:
        out.print()
        details: list[list[str | Text]] = [
            [
                task.operation.name,
                task.aggregate.id,
                Text(state, STATE_STYLES.get(state, "")),
                _remark(plan, task, state),
            ]
            for task in tasks
            if (state := plan.state(task))
        ]
        out.print(table(["operation", "job or aggregate", "state", ""], details))
    _advise(plan, total)


def _label_rows(plan: Plan, labels: dict[str, list[str]], jobs: int) -> list[list[str]]:
    counts = Counter(text for worn in labels.values() for text in worn)
    order = list(plan.definition.labels)
    rows = []
    for text in sorted({*counts, *order}, key=lambda t: (order.index(t) if t in order else len(order), t)):
        filled = round(BAR_WIDTH * counts[text] / jobs) if jobs else 0
        percent = 100 * counts[text] // jobs if jobs else 0
        rows.append([text, f"{'█' * filled}{'░' * (BAR_WIDTH - filled)} {counts[text]}/{jobs} ({percent} %)"])
    return rows


def _remark(plan: Plan, task: Task, state: State) -> str:
    if state is State.FAILED and (failure := plan.failure(task)):
        return f"{failure.message}; log {failure.log}"
    if state is State.BROKEN:
        return str(plan.errors[task.key])
    return ""


def _advise(plan: Plan, total: Counter[State]) -> None:
    """Say on standard error what is wrong and what to do next."""
    from rich.console import Console

    err = Console(stderr=True, highlight=False, soft_wrap=True)
    errors = _errors(plan)
    for error in errors[:10]:
        err.print(f"\n{error}\n{error.hint}", markup=False)
    if len(errors) > 10:
        err.print(f"... and {len(errors) - 10} more; --json has them all.", markup=False)
    if total[State.FAILED]:
        err.print(
            "\nFailed tasks: `python project.py logs` shows why, `python project.py run --retry-failed` tries again.",
            markup=False,
        )
