"""``status``: what is done, what can run and what failed."""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections import Counter
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from pointillist.cli import on_cluster
from pointillist.cli.documents import add_json
from pointillist.cli.parameters import varying_keys
from pointillist.cli.selectors import add_selectors, selected
from pointillist.cli.tables import FORMATS, Table, has_colour, render
from pointillist.cli.views import (
    Details,
    Status,
    count_group,
    group_table,
    label_table,
    operation_table,
    worn_labels,
)
from pointillist.cli.watch import watch
from pointillist.definition.aggregates import get_aggregate_id
from pointillist.definition.groups import choose
from pointillist.errors import EXIT_OK, PointillistError, TemplateError, near_matches
from pointillist.execution.planning import chosen_definition, plan_for
from pointillist.state.plan import Plan
from pointillist.state.tasks import State, Task
from pointillist.wording import counted, sentence

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py status
  python project.py status -d -o train     each task of an operation
  python project.py status --failed        only what failed, and where the logs are
  python project.py status -d -p           with the parameters in which jobs differ
  python project.py status --json | jq .operations
"""

SCHEMA = "pointillist/status/1"
SHORT_NAMES = {"table": "terminal", "md": "markdown"}
NARROWED = (State.ELIGIBLE, State.FAILED, State.COMPLETED, State.RUNNING)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    view = parser.add_argument_group("view")
    view.add_argument("-d", "--detailed", action="store_true", help="list each task")
    view.add_argument("--full", action="store_true", help="the same as --detailed")
    view.add_argument("-a", "--all-operations", action="store_true", help="accepted: all tasks are always listed")
    for state in NARROWED:
        view.add_argument(f"--{state.value}", action="store_true", help=f"list the tasks that are {state.value}")
    view.add_argument(
        "--only-incomplete-operations", action="store_true", help="only jobs that have something left to do"
    )
    view.add_argument("--stack", action="store_true", help="list the tasks below their job")
    view.add_argument("-1", "--one-line", action="store_true", help="list one line a job")
    view.add_argument("-e", "--expand", action="store_true", help="list jobs and tasks in two tables")
    view.add_argument("--pretty", action="store_true", help="with symbols, eligible operations in bold")
    view.add_argument("--no-overview", action="store_true", help="leave the counts out")
    view.add_argument("-m", "--overview-max-lines", type=int, metavar="N", help="show at most N labels")
    view.add_argument("--eligible-jobs-max-lines", type=int, metavar="N", help="count at most N operations")
    view.add_argument(
        "-p",
        "--parameters",
        nargs="*",
        metavar="KEY",
        help="list these parameters, too (KEY, doc.KEY, A.B); without KEY those in which jobs differ",
    )
    view.add_argument("--param-max-width", type=int, metavar="N", help="show at most N characters of a parameter")
    output = parser.add_argument_group("output")
    add_json(output)
    output.add_argument(
        "--format",
        "--output-format",
        dest="format",
        type=lambda name: SHORT_NAMES.get(name, name),
        choices=FORMATS,
        default="terminal",
        help="how to draw tables (also: table, md)",
    )
    output.add_argument(
        "--watch", nargs="?", type=float, const=5.0, metavar="S", help="show it again every S seconds (5), until Ctrl-C"
    )
    output.add_argument("--profile", nargs="?", const=True, help=argparse.SUPPRESS)
    for flag in ("--hide-progress", "--ignore-errors"):  # nothing to hide, and errors never stop a status
        output.add_argument(flag, action="store_true", help=argparse.SUPPRESS)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Show the status."""
    # Of a million new objects few are garbage; Python would look through them again and again.
    gc.set_threshold(100_000, 20, 100)
    if arguments.profile:
        print("--profile is left out: python -m cProfile project.py status tells the same.", file=sys.stderr)
    if arguments.watch is not None:
        watch(lambda page: show(project, arguments, page, page), arguments.watch)
    else:
        show(project, arguments, sys.stdout, sys.stderr)
    return EXIT_OK


def print_status(
    project: Study, *, jobs: Iterable[Any] | None, file: Any, err: Any, template: str | None, **options: Any
) -> None:
    """Print the status for a Python program; ``options`` are those of the command line, by their long names."""
    known = argparse.ArgumentParser()
    add_arguments(known)
    arguments = known.parse_args([])
    for name, value in options.items():
        setattr(arguments, name, value)
    if isinstance(arguments.parameters, str):
        arguments.parameters = [arguments.parameters]
    if arguments.format not in FORMATS:
        raise ValueError(f"There is no output format {arguments.format!r}. {near_matches(arguments.format, FORMATS)}")
    if jobs is not None:
        entries = (entry if isinstance(entry, (tuple, list)) else (entry,) for entry in jobs)
        arguments.job_id = [get_aggregate_id(entry) for entry in entries]
    if template is None:
        show(project, arguments, file or sys.stdout, err or sys.stderr)
    else:
        content = document(project, gather(project, arguments))
        print(_filled_in(template, project, content | {"tasks": list(content["tasks"])}), file=file or sys.stdout)


def _filled_in(template: str, project: Study, content: dict[str, Any]) -> str:
    """Return a document in the form of a template that the user has written."""
    import jinja2

    folder = project.template_folder
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), trim_blocks=True)
    try:
        return environment.get_template(template).render(content)
    except jinja2.TemplateNotFound as error:
        raise TemplateError(f"There is no template {error.name!r} in {folder}.") from error
    except jinja2.TemplateError as error:
        raise TemplateError(sentence(f"The template {template!r}: {error.message}")) from error


def show(project: Study, arguments: argparse.Namespace, file: Any, err: Any) -> None:
    """Work the status out and print it: the answer to ``file``, remarks to ``err``."""
    status = gather(project, arguments)
    if arguments.json:
        _print_document(document(project, status), file)
        return
    if not status.plan.workspace.job_ids and not status.plan.workspace.broken:
        print("There are no jobs yet. init.py makes them: python init.py", file=file)
        return
    parts = [] if arguments.no_overview else _overview(status, arguments)
    if _wants_details(arguments):
        parts += _details(status, arguments)
    print(render(parts, form=arguments.format, colour=has_colour(file)), file=file)
    _advise(status, err)


def gather(project: Study, arguments: argparse.Namespace) -> Status:
    """Return what the options of a command line select."""
    definition = chosen_definition(project, arguments.operation, may_overlap=True)
    groups = list(project.definition.groups.values())
    if arguments.operation is not None:
        groups = choose(arguments.operation, project.definition.groups, may_overlap=True)
    groups = [group for group in groups if group.name not in project.definition.operations]
    alone = not arguments.filter and all(group.aggregator.is_single for group in groups)
    plan = plan_for(project, definition, arguments.job_id if alone else None)
    selection = selected(project, plan, arguments)
    chosen = None if selection.aggregate_ids is None else frozenset(selection.aggregate_ids)
    everything = plan.all_tasks()
    tasks = _narrowed(plan, everything if chosen is None else list(filter(selection.wants, everything)), arguments)
    job_ids = [i for i in plan.workspace.job_ids if chosen is None or i in chosen]
    counts = [count_group(plan, group, chosen) for group in groups]
    return Status(plan, tasks, job_ids, counts, *worn_labels(plan, job_ids), tasks is everything)


def _narrowed(plan: Plan, tasks: Collection[Task], arguments: argparse.Namespace) -> Collection[Task]:
    """Return the tasks in the states that are asked for, of the jobs that are asked for."""
    states = {state for state in NARROWED if getattr(arguments, state.value)}
    if states:
        tasks = [task for task in tasks if plan.state(task) in states]
    if arguments.only_incomplete_operations:
        unfinished = {task.aggregate.id for task in tasks if plan.state(task) is not State.COMPLETED}
        tasks = [task for task in tasks if task.aggregate.id in unfinished]
    return tasks


def _wants_details(arguments: argparse.Namespace) -> bool:
    named = ("detailed", "full", "stack", "one_line", "expand", *(state.value for state in NARROWED))
    return any(getattr(arguments, name) for name in named) or arguments.parameters is not None


def _overview(status: Status, arguments: argparse.Namespace) -> list[Table | str]:
    table, omitted = operation_table(status, most=arguments.eligible_jobs_max_lines, pretty=arguments.pretty)
    parts: list[Table | str] = [f"{counted(len(status.job_ids), 'job')}, {counted(len(status.tasks), 'task')}", table]
    if omitted:
        parts.append(f"[{omitted} more operations omitted]")
    if status.groups:
        parts.append(group_table(status.groups))
    if status.plan.definition.labels:
        table, omitted = label_table(status, most=arguments.overview_max_lines)
        parts.append(table)
        if omitted:
            parts.append(f"[{omitted} more labels omitted]")
    return parts


def _details(status: Status, arguments: argparse.Namespace) -> list[Table | str]:
    keys = arguments.parameters or []
    if arguments.parameters is not None and not keys:
        keys = varying_keys(status.plan.workspace, status.job_ids)
    details = Details(status, list(keys), arguments.param_max_width or None, arguments.pretty)
    if arguments.expand:
        return [*details.expanded()]
    if arguments.stack:
        return [details.stacked(), details.legend()]
    return [details.one_line() if arguments.one_line else details.each()]


def document(project: Study, status: Status) -> dict[str, Any]:
    """Return the status as plain data, in the form of :data:`SCHEMA`."""
    counts = status.counts
    return {
        "schema": SCHEMA,
        "project": project.path,
        "jobs": len(status.job_ids),
        "operations": [
            {"name": name} | {state.value: count[state] for state in State} for name, count in counts.items()
        ],
        "groups": [
            {
                "name": count.group.name,
                "operations": list(count.group.operations),
                "aggregates": count.aggregates,
                "completed": count.completed,
                "eligible": count.eligible,
            }
            for count in status.groups
        ],
        "labels": dict(Counter(text for worn in status.labels.values() for text in worn)),
        "tasks": (_task_document(status, task) for task in status.tasks),
        "errors": [
            {"message": str(error), "hint": error.hint}
            for error in [*status.errors(), *on_cluster.troubles(status.plan)]
        ],
    }


def _print_document(content: dict[str, Any], file: Any) -> None:
    """Print a document as JSON, each task on a line of its own as soon as it is known."""
    lead = "{"
    for key, value in content.items():
        file.write(f"{lead}\n  {json.dumps(key)}: ")
        lead = ","
        if key == "tasks":
            file.write("[")
            for number, task in enumerate(value):
                file.write(("," if number else "") + "\n    " + json.dumps(task))
            file.write("\n  ]")
        else:
            file.write(json.dumps(value, indent=2).replace("\n", "\n  "))
    file.write("\n}\n")


def _task_document(status: Status, task: Task) -> dict[str, Any]:
    attempt = status.plan.journal.last(*task.key)
    return {
        "operation": task.operation.name,
        "aggregate": task.aggregate.id,
        "jobs": list(task.aggregate.job_ids),
        "state": status.plan.state(task).value,
        "labels": status.labels.get(task.aggregate.id, []),
        "last_attempt": attempt.as_json() if attempt else None,
        "cluster": on_cluster.document(status.plan, task),
    }


def _advise(status: Status, err: Any) -> None:
    """Say what is wrong and what to do next."""
    errors: list[PointillistError] = status.errors()
    for error in errors[:10]:
        print(f"\n{error}" + (f"\n{error.hint}" if error.hint else ""), file=err)
    if len(errors) > 10:
        print(f"... and {len(errors) - 10} more; --json has them all.", file=err)
    for text in on_cluster.advice(status.plan, status.tasks) if status.plan.cluster is not None else ():
        print(f"\n{text}", file=err)
    if any(count[State.FAILED] for count in status.counts.values()):
        print(
            "\nFailed tasks: `python project.py logs` shows why, `python project.py run --retry-failed` tries again.",
            file=err,
        )
