"""``submit``: hand eligible tasks to the scheduler of this cluster."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pointillist.cli import on_cluster
from pointillist.cli.arguments import add_ignored, count, count_or_all, limit
from pointillist.cli.documents import add_json, print_document
from pointillist.cli.selectors import add_selectors, selected
from pointillist.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOTHING_SELECTED,
    EXIT_OK,
    EXIT_SCHEDULER,
)
from pointillist.execution.planning import chosen_definition, mention_left_out
from pointillist.execution.submitting.preparation import Parts, Prepared, prepare
from pointillist.execution.submitting.submission import Handover, hand_over, submitting
from pointillist.execution.submitting.units import chosen_groups
from pointillist.execution.submitting.wishes import Wishes
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.state.submissions import Submission
    from pointillist.study import Study

EXAMPLES = """\
  python project.py submit --pretend                  show the scripts, submit nothing
  python project.py submit -o train --bundle 8        eight tasks to a cluster job
  python project.py submit --all                      everything, each part after what it waits for
  python project.py submit -- --constraint=a100       further words for the scheduler
"""

SCHEMA = "pointillist/submit/1"

TEMPLATE_HELP = """\
A template is looked for in the folder templates/ of the project, then among those of the package:
script.sh (extends the environment's), slurm.sh, pbs.sh, lsf.sh, local.sh, base_script.sh.

Blocks       header (preamble, tasks, memory), project_header, custom_content, body (pre_operation), footer
Variables    id, operations, parallel, force, project, environment, base_script, request, request_lines,
             resources (ncpu_tasks, ngpu_tasks, num_nodes), np_global, and each option of the command line:
             {options}
operation    .name .id .cmd .directives[KEY]
Filters      {filters}
{{% raise "message" %}} refuses to make the script.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("flags", nargs="*", metavar="FLAG", help="after --: words for the scheduler's own command")
    parser.add_argument("-n", "--num", type=limit, metavar="N", help="submit at most N tasks; -1 for no limit")
    parser.add_argument(
        "--all", action="store_true", help="also what becomes eligible later, each task after those that it waits for"
    )
    parser.add_argument("--retry-failed", action="store_true", help="submit failed tasks again")
    parser.add_argument("--pretend", action="store_true", help="print the scripts, submit nothing")
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask")
    add_json(parser)
    shape = parser.add_argument_group("cluster jobs")
    shape.add_argument(
        "-b",
        "--bundle",
        type=count_or_all,
        nargs="?",
        const=0,
        default=1,
        metavar="N",
        help="N tasks of an operation to one cluster job; without N, or with 0, all tasks of all operations to one",
    )
    shape.add_argument(
        "-p",
        "--parallel",
        type=count,
        nargs="?",
        const=True,
        default=False,
        metavar="N",
        help="run the tasks of a bundle at the same time; with N at most so many",
    )
    shape.add_argument("--no-array", action="store_true", help="a submission for each cluster job, no arrays")
    shape.add_argument("--at-once", type=count, metavar="N", help="run at most N elements of an array at a time")
    for word in ("conditions", "conditions-on-execution"):
        where = " in the cluster job" if "execution" in word else ""
        add_ignored(shape, f"--ignore-{word}", f"which conditions not to ask{where}")
    asked = parser.add_argument_group("what the scheduler is asked for")
    asked.add_argument("--partition", default="", metavar="NAME", help="the partition or queue")
    asked.add_argument("--hold", action="store_true", help="let them wait until they are released")
    asked.add_argument("--after", action="append", default=[], metavar="ID", help="start after this one ended well")
    asked.add_argument("--job-output", default="", metavar="FILE", help="where they write, in the scheduler's pattern")
    asked.add_argument("--force", action="store_true", help="skip the checks of partition and template")
    asked.add_argument("--template", default="script.sh", metavar="FILE", help="template of the scripts")
    asked.add_argument("--template-help", action="store_true", help="say what a template may use")
    asked.add_argument("--test", action="store_true", help="as --pretend, in the test environment")


def add_project_arguments(project: Study, parser: argparse.ArgumentParser) -> None:
    """Let the compute environment add options of its own; they may replace ours of the same name."""
    project._environment.add_args(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Submit tasks and say under which ids."""
    wishes = _wishes(arguments)
    if arguments.test:
        from pointillist.cluster.environments import get_environment

        project._environment = get_environment(test=True)
    if arguments.template_help:
        return _template_help(project, wishes)

    def wait() -> None:
        print("Another submit is at work in this project; waiting for it.", file=sys.stderr, flush=True)

    is_pretended = arguments.pretend or project._environment.only_shows()
    with submitting(project, wait, pretend=is_pretended):
        plan = project.plan(chosen_definition(project, arguments.operation, arguments.ignore_conditions))
        selection = selected(project, plan, arguments)
        groups = chosen_groups(project.definition, arguments.operation)
        prepared = prepare(project, plan, selection.wants, wishes, groups)
        _mention(plan, prepared)
        if arguments.json and (is_pretended or not prepared.parts):
            _print_document(prepared, Handover(), prepared.parts)
        elif is_pretended:
            print("\n".join(parts.shown for parts in prepared.parts), end="")
        if not prepared.parts:
            return _nothing(plan, prepared)
        if is_pretended:
            print(_summary(prepared), file=sys.stderr)
            return _refusals(prepared)
        if not _agreed(prepared, wishes, ask=not arguments.yes):
            print("Nothing was submitted.", file=sys.stderr)
            if arguments.json:
                _print_document(prepared, Handover(left=prepared.tasks))
            return EXIT_OK
        outcome = hand_over(project, prepared, wishes, on_accepted=(lambda *_: None) if arguments.json else _show)
    if arguments.json:
        _print_document(prepared, outcome)
    return _report(prepared, outcome)


def _wishes(arguments: argparse.Namespace) -> Wishes:
    partition = arguments.partition or ""
    return Wishes(
        bundle=arguments.bundle or None,
        parallel=arguments.parallel,
        num=arguments.num,
        everything=arguments.all,
        retry_failed=arguments.retry_failed,
        arrays=not arguments.no_array,
        at_once=arguments.at_once,
        force=arguments.force,
        hold=arguments.hold,
        after=[arguments.after] if isinstance(arguments.after, str) else arguments.after or [],
        output=arguments.job_output or "",
        partition=partition,
        flags=arguments.flags,
        template=arguments.template,
        on_execution=arguments.ignore_conditions_on_execution,
        options={name: value for name, value in vars(arguments).items() if name not in ("flags", "command")},
    )


def _mention(plan: Plan, prepared: Prepared) -> None:
    mention_left_out(plan)
    for words in prepared.warnings:
        print(f"Warning: {words}", file=sys.stderr)
    if prepared.present:
        unknown = f", {prepared.unknown} of them perhaps" if prepared.unknown else ""
        present = counted(prepared.present, "task is", "tasks are")
        print(f"{present} on the cluster already{unknown}.", file=sys.stderr)


def _nothing(plan: Plan, prepared: Prepared) -> int:
    if prepared.refused:
        return _refusals(prepared)
    troubles = on_cluster.troubles(plan)
    if troubles:
        raise troubles[0]
    print("Nothing to submit: no selected task is eligible.", file=sys.stderr)
    return EXIT_OK if plan.workspace.job_ids else EXIT_NOTHING_SELECTED


def _refusals(prepared: Prepared) -> int:
    for error in dict.fromkeys(map(str, prepared.refused)):
        print(f"Not submitted: {error}", file=sys.stderr)
    for hint in dict.fromkeys(error.hint for error in prepared.refused if error.hint):
        print(hint, file=sys.stderr)
    return prepared.refused[0].exit_code if prepared.refused else EXIT_OK


def _summary(prepared: Prepared) -> str:
    cores, gpus = prepared.hours(lambda one: one.cores), prepared.hours(lambda one: one.gpus)
    text = f"{counted(prepared.tasks, 'task')} in {counted(prepared.cluster_jobs, 'cluster job')}"
    text += f" ({counted(len(prepared.parts), 'submission')})"
    cost = [
        f"at most {_hours(cores)} core-hours" if cores is not None else "core-hours not known: no walltime is given"
    ]
    if gpus:
        cost.append(f"{_hours(gpus)} GPU-hours")
    return f"{text}; {', '.join(cost)}."


def _agreed(prepared: Prepared, wishes: Wishes, *, ask: bool) -> bool:
    print(_summary(prepared), file=sys.stderr)
    if not ask or prepared.cluster_jobs <= 1 or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return True
    try:
        print("Submit? [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print("\nNothing was submitted.", file=sys.stderr)
        raise


def _show(parts: Parts, submission: Submission) -> None:
    name = "+".join(parts.parcel.operations)
    span = f"_[0-{parts.cluster_jobs - 1}]" if submission.is_array else ""
    print(f"{submission.id}{span}  {name}  {counted(parts.tasks, 'task')}", flush=True)


def _print_document(prepared: Prepared, outcome: Handover, scripts: Iterable[Parts] = ()) -> None:
    print_document(
        SCHEMA,
        submissions=[
            {name: getattr(one, name) for name in ("id", "name", "script", "output", "is_array")}
            | {"elements": [[{"operation": task[0], "aggregate": task[1]} for task in e] for e in one.elements]}
            for one in outcome.accepted
        ],
        scripts=[{"name": one.name, "command": one.command, "text": one.text, "tasks": one.tasks} for one in scripts],
        refused=[{"message": str(error), "hint": error.hint} for error in [*prepared.refused, *outcome.refused]],
        left=outcome.left,
    )


def _report(prepared: Prepared, outcome: Handover) -> int:
    prepared.refused += outcome.refused
    code = _refusals(prepared)
    tasks = counted(sum(len(element) for one in outcome.accepted for element in one.elements), "task")
    left = counted(outcome.left, "was", "were")
    if outcome.trouble is not None:
        print(f"Submitted {tasks}; {left} not handed over.", file=sys.stderr)
        raise outcome.trouble
    if outcome.was_interrupted:
        print(f"Stopped: submitted {tasks}, {left} not handed over.", file=sys.stderr)
        return EXIT_INTERRUPTED
    if outcome.refused:
        code = EXIT_SCHEDULER
    if outcome.accepted:
        print(f"Submitted {tasks}. `python project.py status` follows them.", file=sys.stderr)
    return code or (EXIT_OK if outcome.accepted else EXIT_FAILED)


def _template_help(project: Study, wishes: Wishes) -> int:
    from pointillist.execution.submitting.filters import FILTERS

    filters = sorted({*FILTERS, *project._environment.filters()})
    print(TEMPLATE_HELP.format(options=", ".join(sorted(wishes.options)), filters=", ".join(filters)))
    return EXIT_OK


def _hours(hours: float) -> str:
    return f"{hours:.0f}" if hours >= 10 else f"{hours:.2g}"
