"""``FlowProject``: the thin face over the rest.

What a class declares is in :mod:`pointillist.definition.declarations`, what can be read of a project in
:mod:`pointillist.study`. Here is what can be done with one; each method hands it to the rooms below.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from pointillist.cli.entry import Main
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.later import names_from
from pointillist.older import OlderProject

if TYPE_CHECKING:
    from pointillist.state.submissions import Submission


class FlowProject(OlderProject):
    """A study: the operations declared on this class, over the jobs of a signac project.

    Everything that a ``signac.Project`` can do, it can do too: ``open_job``, ``find_jobs``, iteration, ...

    Parameters
    ----------
    path
        The folder of the signac project; by default the current folder.
    environment
        The compute environment; by default the one detected.
    entrypoint
        How a shell runs this project: ``{"executable": python, "path": project file}``.

    Raises
    ------
    ProjectNotFoundError
        When there is no signac project at ``path``.
    """

    PRINT_STATUS_ALL_VARYING_PARAMETERS = True
    """For ``parameters`` of :meth:`print_status`: all parameters that differ between jobs."""

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"unknown": "U", "registered": "R", "inactive": "I", "submitted": "S", "held": "H", "queued": "Q"}
        | {"active": "A", "error": "E"}
        | {f"group_{word}": f"G{word[0].upper()}" for word in ("registered", "inactive", "submitted", "held")}
        | {"group_queued": "GQ", "group_active": "GA", "group_error": "GE", "placeholder": " "}
    )
    """The letters by which signac-flow abbreviates what a scheduler says."""

    def print_status(
        self,
        jobs: Iterable[Any] | None = None,
        overview: bool = True,
        overview_max_lines: int | None = None,
        detailed: bool = False,
        parameters: bool | Iterable[str] | None = None,
        param_max_width: int | None = None,
        expand: bool = False,
        all_ops: bool = False,
        only_incomplete: bool = False,
        dump_json: bool = False,
        unroll: bool = True,
        compact: bool = False,
        pretty: bool = False,
        file: Any = None,
        err: Any = None,
        ignore_errors: bool = False,
        template: Any = None,
        profile: bool | str = False,
        eligible_jobs_max_lines: int | None = None,
        output_format: str = "terminal",
        hide_progress: bool = False,
        operation: str | Iterable[str] | None = None,
    ) -> None:
        """Print the status, as ``project.py status`` does.

        Parameters
        ----------
        jobs
            Signac jobs, or tuples of them; by default all.
        overview, overview_max_lines, eligible_jobs_max_lines
            Whether to count tasks and labels, and how many labels and operations to name.
        detailed, all_ops, only_incomplete
            List each task; also those that are complete or wait; only of jobs that are not through.
        parameters, param_max_width
            State point keys (``True``: all that differ) to show beside each task, and how much of a value.
        expand, unroll, compact, pretty
            The views: two tables; one row a task (False: stacked under its job); one row a job; with symbols.
        dump_json
            Print one JSON document instead, as `status --json` does.
        file, err
            Where to print the answer, and remarks.
        template
            The name of a Jinja template in the folder ``templates`` of the project, to print instead; its variables are
            the fields of `status --json`.
        ignore_errors, profile, hide_progress
            Taken for the sake of old programs; they have no effect here.
        output_format
            ``terminal``, ``markdown``, ``html`` or ``csv``.
        operation
            Regular expressions of operation and group names.
        """
        from pointillist.cli.status import print_status

        print_status(
            self,
            jobs=jobs,
            file=file,
            err=err,
            template=template,
            operation=[operation] if isinstance(operation, str) else operation,
            json=dump_json,
            no_overview=not overview,
            overview_max_lines=overview_max_lines,
            eligible_jobs_max_lines=eligible_jobs_max_lines,
            detailed=detailed,
            parameters=[] if parameters is True else parameters,
            param_max_width=param_max_width,
            expand=expand,
            all_operations=all_ops,
            only_incomplete_operations=only_incomplete,
            stack=not unroll,
            one_line=compact,
            pretty=pretty,
            format=output_format,
        )

    def run(
        self,
        jobs: Iterable[Any] | None = None,
        names: Iterable[str] | None = None,
        pretend: bool = False,
        np: int | None = None,
        timeout: float | None = None,
        num: int | None = None,
        num_passes: int = 1,
        progress: bool = False,
        order: str | Callable[[Any], Any] | None = None,
        ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
        *,
        retry_failed: bool = False,
    ) -> None:
        """Run what is eligible, and what becomes so, until nothing is.

        Parameters
        ----------
        jobs
            Signac jobs, or tuples of them; by default all.
        names
            Regular expressions of operation and group names; by default every operation.
        pretend
            Print the commands, run nothing.
        np
            How many tasks at once, each in a process of its own (-1: as many as there are cores); by default one, in
            this process.
        timeout
            Seconds after which a task is ended; by default, or by -1, never.
        num
            How many tasks at most; by default, or by -1, any number.
        num_passes
            How often a task may be executed while it stays eligible; -1 for any number.
        progress
            Show how far things are.
        order
            ``"by-job"``, ``"cyclic"`` (a task of each job in turn), ``"random"``, or a function of a job-operation that
            returns a key to sort by.
        ignore_conditions
            Conditions not to ask.
        retry_failed
            Try failed tasks again.

        Raises
        ------
        UserOperationError
            When a task failed; the others have run all the same. What a call in this process raised is its cause.
        UserConditionError
            When a condition or an aggregator raised; what it is asked for does not run, the others have.
        """
        from pointillist.execution.runs import run_project

        run_project(
            self,
            jobs=jobs,
            names=names,
            pretend=pretend,
            np=np,
            timeout=timeout,
            num=num,
            num_passes=num_passes,
            progress=progress,
            order=order,
            ignore_conditions=ignore_conditions,
            retry_failed=retry_failed,
        )

    def submit(
        self,
        bundle_size: int = 1,
        jobs: Iterable[Any] | None = None,
        names: Iterable[str] | None = None,
        num: int | None = None,
        parallel: bool | int = False,
        force: bool = False,
        ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
        ignore_conditions_on_execution: IgnoreConditions = IgnoreConditions.NONE,
        **options: Any,
    ) -> list[Submission]:
        """Hand what is eligible to the scheduler of this cluster.

        Parameters
        ----------
        bundle_size
            How many tasks one cluster job takes; 0 for all together.
        jobs
            Signac jobs, or tuples of them; by default all.
        names
            Regular expressions of names of operations and groups; by default all operations.
        num
            How many tasks at most.
        parallel
            Whether the tasks of a bundle run at the same time; a number says how many at most.
        force
            Skip the checks of partition and template.
        ignore_conditions, ignore_conditions_on_execution
            Which conditions not to ask, now and in the cluster job.
        options
            ``pretend``, ``hold``, ``after``, ``job_output``, ``partition``, ``flags``, ``template``, ``everything``
            (what becomes eligible later, too), ``retry_failed``, ``arrays``, ``at_once``; others are for the templates.

        Returns
        -------
        list
            What was submitted, with the scheduler's ids.

        Raises
        ------
        SubmitError
            When the scheduler refuses, or gives no answer.
        """
        from pointillist.execution.submitting.submission import submit_project
        from pointillist.execution.submitting.wishes import wishes_of

        wishes = wishes_of(bundle_size, num, parallel, force, ignore_conditions_on_execution, options)
        return submit_project(
            self,
            jobs=jobs,
            names=names,
            ignore_conditions=ignore_conditions,
            wishes=wishes,
            pretend=bool(options.get("pretend", False)),
        )

    main = Main()


_BY_OTHER_NAMES = {
    "FlowGroup": "pointillist.definition.groups:Group",
    "FlowGroupEntry": "pointillist.definition.groups:GroupDecorator",
    "BaseFlowOperation": "pointillist.definition.operations:Operation",
    "FlowOperation": "pointillist.definition.operations:Operation",
    "FlowCmdOperation": "pointillist.definition.operations:Operation",
    "_JobOperation": "pointillist.execution.job_operations:JobOperation",
    "aggregator": "pointillist.definition.aggregates:aggregator",
    "get_aggregate_id": "pointillist.definition.aggregates:get_aggregate_id",
    "classlabel": "pointillist.definition.labels:classlabel",
    "label": "pointillist.definition.labels:label",
    "staticlabel": "pointillist.definition.labels:staticlabel",
    "_AggregateStoresCursor": "pointillist.definition.stores:AggregateStoresCursor",
    "_JobAggregateCursor": "pointillist.definition.stores:JobAggregateCursor",
    "TrackOperations": "pointillist.execution.tracking:TrackOperations",
}
"""What programs import from ``flow.project``; here it lives elsewhere."""

__getattr__ = names_from(__name__, _BY_OTHER_NAMES)
