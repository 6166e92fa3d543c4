"""``FlowProject``: the thin face over the rest.

Holds the decorators with which a user declares a study and hands everything else to the rooms below. It stands for a
signac project without being one: signac is imported only when somebody asks for something of signac's, because reading
the status of a study does not need it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from pointillist.definition.registry import (
    ConditionDecorator,
    Definition,
    LabelDecorator,
    OperationDecorator,
    PreDecorator,
    Registry,
    collect,
)
from pointillist.errors import PointillistError, ProjectNotFoundError

if TYPE_CHECKING:
    import argparse

    from pointillist.definition.operations import Operation
    from pointillist.state.journal import Journal
    from pointillist.state.plan import Plan
    from pointillist.state.sessions import Sessions
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


class FlowProject:
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

    _registry: ClassVar[Registry]
    operation: ClassVar[OperationDecorator]
    pre: ClassVar[PreDecorator]
    post: ClassVar[ConditionDecorator]
    label: ClassVar[LabelDecorator]

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

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        environment: Any = None,
        entrypoint: dict[str, str] | None = None,
    ) -> None:
        self._path = os.path.abspath(os.fspath(path) if path is not None else os.getcwd())
        if not os.path.isfile(os.path.join(self._path, ".signac", "config")):
            raise ProjectNotFoundError(
                f"There is no signac project in {self._path}.",
                hint="Make one with init.py, with signac.init_project() or with `signac init`.",
            )
        self._environment = environment
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

    @cached_property
    def definition(self) -> Definition:
        """Everything this class and its parents declare."""
        return collect(c.__dict__["_registry"] for c in type(self).__mro__ if "_registry" in c.__dict__)

    @property
    def operations(self) -> dict[str, Operation]:
        """The operations by name, in the order of their definition."""
        return dict(self.definition.operations)

    @property
    def path(self) -> str:
        """The folder of the project."""
        return self._path

    @property
    def workspace(self) -> str:
        """The folder with the job folders."""
        return os.path.join(self._path, "workspace")

    @property
    def state_folder(self) -> str:
        """The folder of the engine's own files: journal, claims, logs."""
        return os.path.join(self._path, STATE_FOLDER)

    @cached_property
    def signac_project(self) -> Any:
        """The signac project that this one stands for."""
        import signac

        return signac.Project(self._path)

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that this class does not have.
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return getattr(self.signac_project, name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.signac_project)

    def __len__(self) -> int:
        return len(self.signac_project)

    def __contains__(self, job: Any) -> bool:
        return job in self.signac_project

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def __str__(self) -> str:
        return self._path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FlowProject) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(self._path)

    def plan(self) -> Plan:
        """Read the workspace and return every task with its state."""
        from pointillist.state.plan import Plan

        return Plan(self.definition, self.read_workspace(), self.journal(), self.sessions(), lambda: self._code_version)

    def read_workspace(self) -> Workspace:
        """Return a fresh reader of the job folders."""
        from pointillist.state.workspace import Workspace

        return Workspace(self.workspace, self._open_job)

    def journal(self) -> Journal:
        """Return the record of all attempts."""
        from pointillist.state.journal import Journal

        return Journal(os.path.join(self.state_folder, "journal"))

    def sessions(self) -> Sessions:
        """Return the sessions and claims of all processes that run tasks of this project."""
        from pointillist.state.sessions import Sessions

        return Sessions(self.state_folder)

    def labels(self, job: Any) -> Iterator[str]:
        """Yield the labels that a job wears."""
        plan = self.plan()
        for label in self.definition.labels.values():
            text = label.of(plan.facts, job.id)
            if text is not None:
                yield text

    def completed_operations(self, job: Any) -> Iterator[str]:
        """Yield the names of the operations that are complete for a job."""
        plan = self.plan()
        for name in self.definition.operations:
            task = plan.find(name, job.id)
            if task is not None and plan.is_complete(task):
                yield name

    def run(
        self,
        jobs: Iterable[Any] | None = None,
        names: Iterable[str] | None = None,
        pretend: bool = False,
        np: int | None = None,
        num: int | None = None,
        retry_failed: bool = False,
    ) -> None:
        """Run what is eligible, and what becomes so, until nothing is.

        Parameters
        ----------
        jobs
            Signac jobs, or tuples of them; by default all.
        names
            Regular expressions of operation names; by default all.
        pretend
            Print the commands, run nothing.
        np
            How many tasks at once, each in a process of its own; by default one, in this process.
        num
            How many tasks at most.
        retry_failed
            Try failed tasks again.

        Raises
        ------
        UserOperationError
            When a task failed; the others have run all the same.
        """
        from pointillist.execution.api import run_project

        run_project(self, jobs=jobs, names=names, pretend=pretend, np=np, num=num, retry_failed=retry_failed)

    main = _Main()

    def _open_job(self, statepoint: dict[str, Any], job_id: str) -> Any:
        project = self.signac_project
        # Known to signac from here on: opening a job does not read its state point a second time.
        project._sp_cache[job_id] = statepoint
        return project.open_job(id=job_id)

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
