"""The options by which commands select tasks: ``-o``, ``-j`` and ``-f``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING

from pointillist.errors import PointillistError
from pointillist.execution.planning import chosen_definition
from pointillist.state.selection import Selection, select

if TYPE_CHECKING:
    from pointillist.state.plan import Plan
    from pointillist.study import Study


def add_selectors(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command."""
    group = parser.add_argument_group("selection")
    group.add_argument(
        "-o",
        "--operation",
        nargs="+",
        metavar="NAME",
        help="only these operations and groups (names or regular expressions)",
    )
    group.add_argument(
        "-j",
        "--job-id",
        nargs="+",
        metavar="ID",
        help="only these jobs or aggregates (ids may be abbreviated)",
    )
    group.add_argument(
        "-f",
        "--filter",
        nargs="+",
        metavar="F",
        help="only jobs that match, as in `signac find`: -f seed 1 or -f seed.\\$gt 1",
    )


def plan_of_selected(project: Study, arguments: argparse.Namespace) -> tuple[Plan, Selection]:
    """Return the plan of the operations and groups that the options of a command name, and what they select of it."""
    plan = project.plan(chosen_definition(project, arguments.operation, may_overlap=True))
    return plan, selected(project, plan, arguments)


def selected(project: Study, plan: Plan, arguments: argparse.Namespace) -> Selection:
    """Return which jobs and aggregates the options of a command select, of all operations of the plan."""
    return select(plan, ids=arguments.job_id, job_filter=_filter(project, arguments))


def _filter(project: Study, arguments: argparse.Namespace) -> Callable[[], list[str]] | None:
    def matching() -> list[str]:
        from signac.filterparse import parse_filter_arg

        first, *others = arguments.filter
        if first.startswith("{") and (others or not first.endswith("}")):
            raise PointillistError(
                f"The filter {' '.join(arguments.filter)} is JSON that is not whole or was taken apart by the shell.",
                hint="Put it between single quotes, or write -f KEY VALUE, for instance -f seed 1.",
            )
        try:
            return [job.id for job in project.signac_project.find_jobs(parse_filter_arg(arguments.filter))]
        except (ValueError, KeyError) as error:
            raise PointillistError(
                f"The filter {' '.join(arguments.filter)!r} can't be understood: {error}.",
                hint="Write -f KEY VALUE, for instance -f seed 1.",
            ) from error

    return matching if arguments.filter else None
