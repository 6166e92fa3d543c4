"""``explain``: each condition of a task with its value, and why the task is not running."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from pointillist.cli import on_cluster
from pointillist.cli.documents import add_json, print_document, task_document
from pointillist.cli.selectors import add_selectors, plan_of_selected
from pointillist.definition.conditions import Condition
from pointillist.errors import EXIT_NOTHING_SELECTED, EXIT_OK, BrokenJobError, UserConditionError
from pointillist.state.plan import Plan
from pointillist.state.tasks import State, Task

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py explain -o train -j 3f2a9c
  python project.py explain                the first tasks that are not complete
  python project.py explain --all --json | jq .tasks[].reason
"""

SCHEMA = "pointillist/explain/1"

SHOWN = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("-a", "--all", action="store_true", help="all selected tasks, not only the first of them")
    add_json(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Explain tasks."""
    plan, selection = plan_of_selected(project, arguments)
    tasks = [task for task in plan.tasks() if selection.wants(task)]
    if not tasks and not arguments.json:
        print("No task is selected." if plan.workspace.job_ids else "There are no jobs yet.")
        return EXIT_NOTHING_SELECTED
    if arguments.job_id is None and not arguments.all:
        tasks = [task for task in tasks if plan.state(task) is not State.COMPLETED] or tasks
    shown = tasks if arguments.all else tasks[:SHOWN]
    if arguments.json:
        print_document(SCHEMA, tasks=[document(plan, task) for task in shown], more=len(tasks) - len(shown))
        return EXIT_OK if tasks else EXIT_NOTHING_SELECTED
    print("\n\n".join("\n".join(lines(plan, task)) for task in shown))
    if len(tasks) > len(shown):
        print(f"\n... and {len(tasks) - len(shown)} more; -o and -j select, --all shows all.")
    return EXIT_OK


def lines(plan: Plan, task: Task) -> list[str]:
    """Explain one task in lines of text."""
    state = plan.state(task)
    text = [f"{task}: {state}"]
    for kind, conditions in (("pre", task.operation.pre), ("post", task.operation.post)):
        text += [f"  {kind:4}  {_answer(plan, condition, task)}" for condition in conditions]
        if not conditions:
            text.append(f"  {kind:4}  none" + (": it can always run" if kind == "pre" else ": it is never complete"))
    attempt = plan.journal.last(*task.key)
    if attempt is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt.started))
        how = attempt.outcome or ("running" if state is State.RUNNING else "interrupted")
        detail = f": {attempt.message}" if attempt.message else ""
        where = on_cluster.made_in(attempt) or f" on {attempt.host}"
        text.append(f"  last attempt {when}{where}, {how}{detail}; log {attempt.log or 'at the terminal'}")
    if said := on_cluster.remark(plan, task):
        text.append(f"  {said}")
    text.append(f"  {_REASONS[state]}")
    return text


_REASONS = {
    State.COMPLETED: "It is complete: all post-conditions hold.",
    State.RUNNING: "It is running now.",
    State.QUEUED: "It is in the queue of the cluster.",
    State.FAILED: "It failed and nothing it depends on has changed since: `run --retry-failed` tries it again.",
    State.ELIGIBLE: "It can run: `python project.py run`.",
    State.WAITING: "It waits until its pre-conditions hold.",
    State.BROKEN: "It is left alone until this is mended.",
}


def document(plan: Plan, task: Task) -> dict[str, Any]:
    """Explain one task as plain data."""
    attempt = plan.journal.last(*task.key)
    conditions = []
    for kind, declared in (("pre", task.operation.pre), ("post", task.operation.post)):
        for condition in declared:
            holds, why = _asked(plan, condition, task)
            conditions.append({"kind": kind, "condition": str(condition), "holds": holds, "why": why})
    return task_document(plan, task) | {
        "conditions": conditions,
        "reason": _REASONS[plan.state(task)],
        "last_attempt": attempt.as_json() if attempt else None,
        "cluster": on_cluster.document(plan, task),
    }


def _answer(plan: Plan, condition: Condition, task: Task) -> str:
    holds, why = _asked(plan, condition, task)
    word = "?" if holds is None else "yes" if holds else "no"
    return f"{word:3}  {condition}" + (f"  ({why})" if why else "")


def _asked(plan: Plan, condition: Condition, task: Task) -> tuple[bool | None, str]:
    """Return whether a condition holds, None when it can't be answered, and why it does not."""
    try:
        holds = plan.facts.holds(condition, task.aggregate)
        return holds, "" if holds else condition.explain(plan.facts, task.aggregate)
    except (BrokenJobError, UserConditionError) as error:
        return None, str(error)
