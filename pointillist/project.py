"""``FlowProject``: the thin face over the rest.

Holds the decorators with which a user declares a study and hands everything else to the rooms below.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from pointillist.data import DataSpace
from pointillist.definition.decorators import (
    ConditionDecorator,
    HooksDecorator,
    LabelDecorator,
    OperationDecorator,
    PreDecorator,
    declare_group,
)
from pointillist.definition.elsewhere import Archived, Reproduction
from pointillist.definition.hooks import Hooks
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.definition.labels import method_labels
from pointillist.definition.registry import Definition, Registry, collect
from pointillist.errors import PointillistError

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from pointillist.cluster.schedulers.older import OlderClusterJob
    from pointillist.definition.aggregates import aggregator
    from pointillist.definition.elsewhere import Comparator
    from pointillist.definition.groups import Group, GroupDecorator
    from pointillist.definition.operations import Operation
    from pointillist.execution.job_operations import JobOperation
    from pointillist.state.journal import Journal
    from pointillist.state.plan import Plan
    from pointillist.state.sessions import Sessions
    from pointillist.state.submissions import Submission
    from pointillist.state.workspace import Workspace

STATE_FOLDER = ".pointillist"


class _Main:
    """``main``, of a project or of its class.

    ``Project.main()`` finds the signac project where the file that calls it lies, so that the file works from any
    current folder, and says in a sentence when there is none; ``Project(...).main()`` runs the project at hand.
    """

    def __get__(self, project: FlowProject | None, cls: type[FlowProject]) -> Callable[..., NoReturn]:
        def main(parser: argparse.ArgumentParser | None = None) -> NoReturn:
            """Run the command line and exit.

            Parameters
            ----------
            parser
                A parser of the user's own to add the commands to.
            """
            from pointillist.cli.main import main, report

            path = os.path.realpath(sys._getframe(1).f_code.co_filename)
            try:
                chosen = project if project is not None else cls.get_project(os.path.dirname(path))
            except PointillistError as error:
                sys.exit(report(error))
            chosen._entrypoint = {"executable": sys.executable, "path": path} | chosen._entrypoint
            sys.exit(main(chosen, parser))

        return main


class FlowProject(DataSpace):
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

    _registry: ClassVar[Registry]
    operation: ClassVar[OperationDecorator]
    pre: ClassVar[PreDecorator]
    post: ClassVar[ConditionDecorator]
    label: ClassVar[LabelDecorator]
    operation_hooks: ClassVar[HooksDecorator]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._declare_anew()

    @classmethod
    def _declare_anew(cls) -> None:
        registry = cls._registry = Registry()
        cls.operation = OperationDecorator(registry)
        cls.pre = PreDecorator(registry)
        cls.post = ConditionDecorator(registry, "post")
        cls.label = LabelDecorator(registry)
        cls.operation_hooks = HooksDecorator(registry)

    @classmethod
    def make_group(
        cls,
        name: str,
        submit_options: str = "",
        run_options: str = "",
        group_aggregator: aggregator | None = None,
    ) -> GroupDecorator:
        """Declare a group of operations and return the decorator that puts operations into it.

        Parameters
        ----------
        name
            Unique among groups and operations.
        submit_options, run_options
            Appended to the ``run`` line that a scheduler gets, and to the ``exec`` line of each operation.
        group_aggregator
            Which jobs make up a task of the group; by default each job on its own.
        """
        return declare_group(cls._registry, name, submit_options, run_options, group_aggregator)

    @classmethod
    def reproducible(
        cls,
        *,
        inputs: Iterable[str] = (),
        share: Iterable[str] = (),
        made: Iterable[str] = (),
        ignore: Iterable[str] = (),
        compare: Mapping[str, Comparator] | None = None,
        fingerprint: Callable[[Path, str], str | None] | None = None,
        verify: Callable[[Path], Iterable[str]] | None = None,
    ) -> None:
        """Declare how ``project.py reproduce`` makes jobs again and compares them.

        Without it every file of a job is compared byte by byte. Patterns are those of the shell, for paths within a job
        folder; ``*`` spans folders.

        Parameters
        ----------
        inputs
            Files of a job folder that no operation makes; they are copied.
        share
            Files and folders of the project that copies of it use in place, for instance downloaded data.
        made
            What operations make outside of the workspace, as paths within the project: it is not copied, and compared
            when all jobs are made again.
        ignore
            Files that may differ, for instance because they tell of time and place.
        compare
            For patterns, a function of the paths of the original and of what was made again. It returns whether their
            difference is one that may be (None when there is no use in comparing) and how large it is, in words. It is
            asked about files that are not equal byte by byte.
        fingerprint
            A function of a job folder and a file's path in it: a text that is equal for two machines if equal bytes are
            to be expected, None if that is not known. Where it is equal, or not known, no comparison but that of bytes
            counts.
        verify
            A function of a job folder that returns a sentence for each thing that is wrong with it.
        """
        cls._registry.reproduction = Reproduction(
            tuple(inputs), tuple(share), tuple(made), tuple(ignore), dict(compare or {}), fingerprint, verify
        )

    @classmethod
    def archived(
        cls,
        *,
        about: Mapping[str, str] | None = None,
        results: Mapping[str, Iterable[str]] | None = None,
        leave_out: Iterable[str] = (),
        files: Callable[[Path], Mapping[str, bytes]] | None = None,
        entities: Callable[[Path], Iterable[Mapping[str, Any]]] | None = None,
    ) -> None:
        """Declare what ``project.py export`` says of the study, beyond its files and attempts.

        Parameters
        ----------
        about
            Properties of the whole, as in schema.org: ``name``, ``description``, ``license``, ...
        results
            For names of operations, patterns of the files that they make, as paths in a job folder or, outside of the
            workspace, in the project; by default those that their post-conditions name.
        leave_out
            Patterns of files of the project that stay behind, besides what :meth:`reproducible` shares.
        files
            A function of the project folder that returns further files of the archive, by path.
        entities
            A function of the project folder that returns further entities of the metadata (RO-Crate: JSON-LD objects
            with ``@id`` and ``@type``). One with the ``@id`` of a file of the archive says more about that file; others
            are mentioned by the whole.
        """
        cls._registry.archived = Archived(
            dict(about or {}),
            {name: tuple(patterns) for name, patterns in (results or {}).items()},
            tuple(leave_out),
            files,
            entities,
        )

    @property
    def reproduction(self) -> Reproduction:
        """What this class or the nearest of its parents declares about being made again."""
        return next((r.reproduction for r in self._registries() if r.reproduction), Reproduction())

    @property
    def archive(self) -> Archived:
        """What this class or the nearest of its parents declares about its archive."""
        return next((r.archived for r in self._registries() if r.archived), Archived())

    def _registries(self) -> list[Registry]:
        return [cls.__dict__["_registry"] for cls in type(self).__mro__ if "_registry" in cls.__dict__]

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        environment: Any = None,
        entrypoint: dict[str, str] | None = None,
    ) -> None:
        super().__init__(path)
        self._chosen_environment = environment
        self._entrypoint = dict(entrypoint or {})
        self.definition  # noqa: B018 - a project that declares something impossible can't be made

    @classmethod
    def get_project(cls, path: str | os.PathLike[str] | None = None, search: bool = True, **kwargs: Any) -> FlowProject:
        """Return the project at ``path``, or, with ``search``, in the nearest folder above it."""
        start = folder = os.path.abspath(os.fspath(path) if path is not None else os.getcwd())
        while search and not os.path.isfile(os.path.join(folder, ".signac", "config")):
            parent = os.path.dirname(folder)
            if parent == folder:
                folder = start
                break
            folder = parent
        return cls(folder, **kwargs)

    @classmethod
    def init_project(cls, path: str | os.PathLike[str] | None = None) -> FlowProject:
        """Make a signac project at ``path`` where there is none, and return it."""
        import signac

        return cls(signac.init_project(path).path)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path, self._chosen_environment, self._entrypoint)

    @cached_property
    def definition(self) -> Definition:
        """Everything this class and its parents declare."""
        classes = [cls for cls in type(self).__mro__ if "_registry" in cls.__dict__]
        return collect(
            (cls.__dict__["_registry"] for cls in classes),
            methods=method_labels(self, classes),
            project=self,
            hooks=self.project_hooks,
        )

    @cached_property
    def project_hooks(self) -> Hooks:
        """Hooks that are called for every operation, before the operation's own; append to its lists."""
        return Hooks()

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name, in the order of their definition."""
        return dict(self.definition.operations)

    @property
    def groups(self) -> dict[str, Group]:
        """The groups by name; each operation is a group of its own, too."""
        return dict(self.definition.groups)

    @property
    def _environment(self) -> Any:
        """The compute environment: the one given, or the one detected."""
        if self._chosen_environment is None:
            from pointillist.environment import get_environment

            self._chosen_environment = get_environment()
        return self._chosen_environment

    @_environment.setter
    def _environment(self, environment: Any) -> None:
        self._chosen_environment = environment

    @property
    def state_folder(self) -> str:
        """The folder of the engine's own files: journal, claims, logs."""
        return os.path.join(self._path, STATE_FOLDER)

    def plan(self, definition: Definition | None = None, *, job_ids: Collection[str] | None = None) -> Plan:
        """Read the workspace and return every task with its state.

        Parameters
        ----------
        definition
            A part of what is declared; by default all of it.
        job_ids
            Read only these jobs, as if there were no others.
        """
        from pointillist.execution.following import follow
        from pointillist.state.plan import Plan

        return Plan(
            definition or self.definition,
            self.read_workspace(job_ids),
            self.journal(job_ids),
            self.sessions(),
            lambda: self._code_version,
            follow(self),
        )

    def read_workspace(self, job_ids: Collection[str] | None = None) -> Workspace:
        """Return a fresh reader of the job folders, of all or of some."""
        from pointillist.state.workspace import Workspace

        cache_folder = os.path.join(self.state_folder, "cache")
        return Workspace(self.workspace, self._open_job, cache_folder, only=job_ids)

    def journal(self, aggregate_ids: Collection[str] | None = None) -> Journal:
        """Return the record of all attempts, or of those at some aggregates."""
        from pointillist.state.journal import Journal

        return Journal(os.path.join(self.state_folder, "journal"), only=aggregate_ids)

    def sessions(self) -> Sessions:
        """Return the sessions and claims of all processes that run tasks of this project."""
        from pointillist.state.sessions import Sessions

        return Sessions(self.state_folder)

    def labels(self, job: Any) -> Iterator[str]:
        """Yield the labels that a job wears."""
        plan = self.plan(job_ids=[job.id])
        for label in self.definition.labels.values():
            text = label.of(plan.facts, job.id)
            if text is not None:
                yield text

    def completed_operations(self, job: Any) -> Iterator[str]:
        """Yield the names of the operations whose post-conditions hold for a job."""
        from pointillist.execution.questions import completed_operations

        return completed_operations(self, job)

    def get_job_status(
        self, job: Any, ignore_errors: bool = False, cached_status: Mapping[str, int] | None = None
    ) -> dict[str, Any]:
        """Return what is known of one job.

        Parameters
        ----------
        job
            A signac job.
        ignore_errors
            Put what a condition or a label raises into the answer, instead of raising it.
        cached_status
            Scheduler status by job-operation id; by default what the project document remembers.

        Returns
        -------
        dict
            ``job_id``, ``operations`` (name to ``scheduler_status``, ``eligible``, ``completed``), ``labels``,
            ``_operations_error``, ``_labels_error``.
        """
        from pointillist.execution.questions import job_status

        return job_status(self, job, ignore_errors=ignore_errors, cached_status=cached_status)

    def scheduler_jobs(self, scheduler: Any) -> Iterator[OlderClusterJob]:
        """Yield what is in the queue of a scheduler: a name and a status for each task, bundles taken apart."""
        from pointillist.execution.queue import scheduler_jobs

        return scheduler_jobs(self, scheduler)

    def detect_operation_graph(self) -> list[list[int]]:
        """Return the adjacency matrix of the operations: 1 where the column's waits for what the row's achieves.

        Raises
        ------
        RuntimeError
            When a condition can't be compared with others, because it has no code of its own and no tag.
        """
        from pointillist.definition.graph import adjacency

        return adjacency(self.definition)

    def _next_operations(
        self,
        jobs: Iterable[Any] | None = None,
        operation_names: Iterable[str] | None = None,
        ignore_conditions: IgnoreConditions = IgnoreConditions.NONE,
    ) -> Iterator[JobOperation]:
        """Yield what could run now, one operation on one aggregate each."""
        from pointillist.execution.job_operations import next_operations

        return next_operations(self, jobs, operation_names, ignore_conditions)

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
        ignore_errors, template, profile, hide_progress
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
            Seconds after which a task is ended.
        num
            How many tasks at most.
        num_passes
            How often a task may be executed while it stays eligible; -1 for any number.
        progress
            Show how far things are.
        order
            ``"by-job"``, ``"cyclic"``, ``"random"``, or a function of a job-operation that returns a key to sort by.
        ignore_conditions
            Conditions not to ask.
        retry_failed
            Try failed tasks again.

        Raises
        ------
        UserOperationError
            When a task failed; the others have run all the same.
        """
        from pointillist.execution.api import run_project

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
        from pointillist.execution.submission import submit_project
        from pointillist.execution.wishes import wishes_of

        wishes = wishes_of(bundle_size, num, parallel, force, ignore_conditions_on_execution, options)
        return submit_project(
            self,
            jobs=jobs,
            names=names,
            ignore_conditions=ignore_conditions,
            wishes=wishes,
            pretend=bool(options.get("pretend", False)),
        )

    main = _Main()

    @cached_property
    def _code_version(self) -> str:
        """A hash of the Python files of the study: in its folder, and in the folders beside the workspace."""
        digest = hashlib.sha1(usedforsecurity=False)
        folders = [self._path]
        with os.scandir(self._path) as entries:
            folders += sorted(e.path for e in entries if e.is_dir() and e.name[0] != "." and e.name != "workspace")
        for folder in folders:
            with contextlib.suppress(OSError):
                for name in sorted(name for name in os.listdir(folder) if name.endswith(".py")):
                    with open(os.path.join(folder, name), "rb") as file:
                        digest.update(file.read())
        return digest.hexdigest()


FlowProject._declare_anew()

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
    "TrackOperations": "pointillist.execution.tracking:TrackOperations",
}
"""What programs import from ``flow.project``; here it lives elsewhere."""


def __getattr__(name: str) -> Any:
    if name not in _BY_OTHER_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    module, _, attribute = _BY_OTHER_NAMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
