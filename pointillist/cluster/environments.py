"""Compute environments: on which kind of machine are we, which scheduler does it have, which template suits it.

A class here is a whole environment: defining a subclass registers it, under its class name. :func:`get_environment`
finds the one that this process is in. Knows machines and schedulers, no projects and no tasks.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import os
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from pointillist.cluster.clusters import CLUSTERS
from pointillist.cluster.errors import EnvironmentNotFound, RequestError
from pointillist.cluster.older_partitions import PartitionConfig
from pointillist.cluster.partitions import Cluster, choose_partition, taken
from pointillist.cluster.schedulers import scheduler_class
from pointillist.cluster.schedulers.base import Scheduler
from pointillist.cluster.schedulers.requests import Request
from pointillist.errors import NoSchedulerError, near_matches

if TYPE_CHECKING:
    from pointillist.cluster.schedulers.older import JobStatus, OlderScheduler

VARIABLES = ("POINTILLIST_ENVIRONMENT", "SIGNAC_FLOW_ENVIRONMENT")
"""Either names the environment, whatever the machine looks like."""

SUBMITTED_FROM_VARIABLE = "POINTILLIST_SUBMITTED_FROM"
"""In a cluster job: the environment of its submission. Its nodes may not look like the login nodes do."""

F = TypeVar("F", bound=Callable[..., Any])
_numbers = itertools.count()


def template_filter(function: F) -> Any:
    """Make a method of an environment a filter in its templates; it is called with the class and the value."""
    function._is_template_filter = True  # type: ignore[attr-defined]
    return classmethod(function)


class ComputeEnvironment:
    """A kind of machine.

    Attributes
    ----------
    scheduler_type
        The adapter of its scheduler, its name in the table of schedulers, or None when there is none.
    hostname_pattern
        Regular expression that the full name of its hosts matches from the start; None: told by its scheduler.
    submit_flags
        Further flags for every submission, in the scheduler's own words.
    template
        The template of its scripts.
    mpi_cmd, mpi_options
        What starts a program with several ranks, and by which words it is told how many: ``{nranks}``, ``{threads}``
        (of a rank) and ``{gpus}`` stand for what an operation asks for. By default those of ``cluster``, if it has any.
    cluster
        Its partitions, to choose one from a request; None leaves the choice to the scheduler.
    DEBUG
        Take this environment wherever it is defined.
    """

    scheduler_type: ClassVar[type[Scheduler] | type[OlderScheduler] | str | None] = None
    hostname_pattern: ClassVar[str | None] = None
    submit_flags: ClassVar[Sequence[str] | None] = None
    template: ClassVar[str] = "base_script.sh"
    mpi_cmd: ClassVar[str] = "mpiexec"
    mpi_options: ClassVar[str] = "-n {nranks}"
    cluster: ClassVar[Cluster | None] = None
    _partition_config: ClassVar[PartitionConfig | None] = None
    """Its partitions in the form of signac-flow, where ``cluster`` is not given."""
    DEBUG: ClassVar[bool] = False
    JOB_ID_SEPARATOR: ClassVar[str] = "/"
    _number: ClassVar[int] = -1

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._number = next(_numbers)
        cluster = vars(cls).get("cluster")
        for name, said in (("mpi_cmd", cluster.mpi_command), ("mpi_options", cluster.mpi_options)) if cluster else ():
            if said and name not in vars(cls):
                setattr(cls, name, said)

    @classmethod
    def is_present(cls) -> bool:
        """Whether this process is on such a machine."""
        if cls.cluster is not None and cls.cluster.is_here(_hostname(), dict(os.environ)):
            return True
        if cls.hostname_pattern is not None:
            return re.match(cls.hostname_pattern, _hostname()) is not None
        if cls.cluster is not None and (cls.cluster.hostname_pattern or cls.cluster.variable):
            return False
        adapter = cls._adapter()
        return adapter is not None and adapter.is_present()

    @classmethod
    def get_scheduler(cls) -> Scheduler:
        """Return a way to speak to its scheduler.

        Raises
        ------
        NoSchedulerError
            When it has none.
        """
        adapter = cls._adapter()
        if adapter is None:
            raise NoSchedulerError(
                f"The environment {cls.__name__} has no scheduler.",
                hint="Run here with `python project.py run`, or submit on a login node of a cluster."
                " `submit --pretend` shows the scripts anywhere.",
            )
        return adapter()

    @classmethod
    def script_scheduler(cls) -> Scheduler | None:
        """Return the scheduler whose header its scripts carry, for showing them; None for a plain script."""
        adapter = cls._adapter()
        return None if adapter is None or adapter.only_shows else adapter()

    @classmethod
    def only_shows(cls) -> bool:
        """Whether its scheduler takes nothing, so that a submission shows scripts and nothing else."""
        adapter = cls._adapter()
        return adapter is not None and adapter.only_shows

    @classmethod
    def submit(cls, script: str, flags: Sequence[str] | None = None, *args: Any, **kwargs: Any) -> JobStatus | None:
        """Hand a script to the scheduler.

        `submit` of a project goes this way where an environment has a method of its own here, which calls this one.

        Parameters
        ----------
        script
            Its text.
        flags
            Words for the scheduler's command, besides ``submit_flags``.
        args, kwargs
            ``_id`` (a name), ``hold``, ``after`` (the id of a cluster job) and ``pretend``; what else the command
            line of `submit` knows is for environments that want it.

        Returns
        -------
        JobStatus or None
            ``submitted``; None from a scheduler that only shows scripts.

        Raises
        ------
        NoSchedulerError
            When there is none.
        SubmitError
            When the scheduler refuses or gives no answer, or a flag names the cluster job.
        """
        from pointillist.cluster.schedulers.older import JobStatus

        words = cls.all_flags(flags or ())
        if "hand_over" in kwargs:
            kwargs["hand_over"](script, words)
        else:
            from pointillist.cluster.by_hand import submit_text

            submit_text(cls.get_scheduler(), script, words, kwargs)
        return None if cls.only_shows() else JobStatus.submitted

    @classmethod
    def all_flags(cls, flags: Sequence[str]) -> list[str]:
        """Return the words for the scheduler's command: those of the environment, and the user's after them.

        Raises
        ------
        RequestError
            When one names the cluster job: by its name a submission is found again.
        """
        words = [*(cls.submit_flags or ()), *flags]
        if any("--job-name" in word for word in words):
            raise RequestError(
                "The name of a cluster job can't be chosen: by it a submission is found again.",
                hint="Take --job-name away.",
            )
        return words

    @classmethod
    def _get_scheduler_values(cls, context: Mapping[str, Any]) -> dict[str, Any]:
        """Return what templates know as ``resources``, from all other variables of theirs."""
        request: Request = context["request"]
        return {"ncpu_tasks": request.cores, "ngpu_tasks": request.total_gpus, "num_nodes": request.nodes or 1}

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Add options of its own to ``submit``; what is given reaches the template under the option's name."""

    @classmethod
    def place(cls, request: Request) -> Request:
        """Return the request with the partition it goes to.

        Raises
        ------
        NoPartitionFits
            When none can hold it.
        """
        if cls.cluster is None or not cls.cluster.partitions:
            return request if cls._partition_config is None else cls._partition_config.place(request)
        return replace(request, partition=choose_partition(cls.cluster, request).name)

    @classmethod
    def taken(cls, request: Request) -> tuple[int, int]:
        """Return the cores and the GPUs that a request takes up in its partition.

        They are more than it asks for where that gives only whole nodes away.
        """
        for partition in () if cls.cluster is None else cls.cluster.partitions:
            if partition.name == request.partition:
                return taken(partition, request)
        return request.cores, request.total_gpus

    @classmethod
    def filters(cls) -> dict[str, Callable[..., Any]]:
        """Return its template filters by name."""
        methods: dict[str, Any] = {name: getattr(cls, name, None) for name in dir(cls)}
        return {name: method for name, method in methods.items() if getattr(method, "_is_template_filter", False)}

    @classmethod
    def template_folders(cls) -> list[str]:
        """Return where its templates may lie: a folder ``templates`` beside the module that defines it."""
        modules = [sys.modules.get(one.__module__) for one in cls.__mro__ if issubclass(one, ComputeEnvironment)]
        files = [file for module in modules if (file := getattr(module, "__file__", None))]
        return list(dict.fromkeys(os.path.join(os.path.dirname(os.path.abspath(file)), "templates") for file in files))

    @template_filter
    def get_prefix(
        cls, operation: Any, parallel: bool = False, mpi_prefix: str | None = None, cmd_prefix: str | None = None
    ) -> str:
        """Return what goes before the command of an operation: threads, ranks, and a prefix of the user's.

        Whatever starts an operation asks here: `run`, here or in a cluster job, and lines that are only shown.

        Parameters
        ----------
        operation
            A job-operation, with ``directives``.
        parallel
            Whether it runs beside others of its cluster job; for environments that place ranks themselves.
        mpi_prefix, cmd_prefix
            Said instead of what starts the ranks, and after it.
        """
        prefix = cls._get_omp_prefix(operation) if operation.directives.get("omp_num_threads") else ""
        prefix += mpi_prefix or cls._get_mpi_prefix(operation, parallel)
        return prefix + (cmd_prefix or "")

    @classmethod
    def _get_omp_prefix(cls, operation: Any) -> str:
        return f"export OMP_NUM_THREADS={int(operation.directives['omp_num_threads'])}; "

    @classmethod
    def _get_mpi_prefix(cls, operation: Any, parallel: bool) -> str:
        directives = operation.directives
        ranks, threads = int(directives.get("nranks") or 0), int(directives.get("omp_num_threads") or 1)
        if not ranks:
            return ""
        if ranks == 1:
            threads = max(threads, int(directives.get("np") or 1))
        gpus = int(directives.get("ngpu") or 0)
        return f"{cls.mpi_cmd} {cls.mpi_options.format(nranks=ranks, threads=threads, gpus=gpus)} "

    @classmethod
    def _adapter(cls) -> type[Scheduler] | None:
        kind = cls.scheduler_type
        if isinstance(kind, str):
            return scheduler_class(kind)
        if kind is not None and not issubclass(kind, Scheduler):
            from pointillist.cluster.schedulers.older import adapted

            return adapted(kind)
        return kind


class StandardEnvironment(ComputeEnvironment):
    """A machine without a scheduler."""

    @classmethod
    def is_present(cls) -> bool:
        """Whether nothing else fits: it is what remains, and never found."""
        return False


class TestEnvironment(ComputeEnvironment):
    """Scripts are shown and go nowhere; for tests."""

    __test__ = False  # no test class, whatever pytest thinks of its name

    @classmethod
    def is_present(cls) -> bool:
        """Whether it was found; it never is, only named."""
        return False

    @classmethod
    def only_shows(cls) -> bool:
        """Whether a submission shows scripts and nothing else: it does."""
        return True

    @classmethod
    def get_scheduler(cls) -> Scheduler:
        """Return what prints scripts."""
        from pointillist.cluster.schedulers.older import FakeScheduler, adapted

        return adapted(FakeScheduler)()


class DefaultPBSEnvironment(ComputeEnvironment):
    """A cluster with PBS."""

    scheduler_type = "pbs"
    template = "pbs.sh"

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Add what to do with the environment variables of the shell that submits."""
        super().add_args(parser)
        parser.add_argument(
            "--no-copy-env", action="store_true", help="leave the variables of this shell out of the cluster job"
        )


class DefaultTorqueEnvironment(DefaultPBSEnvironment):
    """A cluster with TORQUE."""

    scheduler_type = "torque"

    @classmethod
    def is_present(cls) -> bool:
        """Whether it was found; PBS and TORQUE have the same commands, so it is only named."""
        return False


class DefaultLSFEnvironment(ComputeEnvironment):
    """A cluster with LSF."""

    scheduler_type = "lsf"
    template = "lsf.sh"


class DefaultSlurmEnvironment(ComputeEnvironment):
    """A cluster with Slurm."""

    scheduler_type = "slurm"
    template = "slurm.sh"


class LocalEnvironment(ComputeEnvironment):
    """A queue on this very machine, to try a submission before the real one; only named, never found."""

    scheduler_type = "local"
    template = "local.sh"

    @classmethod
    def is_present(cls) -> bool:
        """Whether it was found."""
        return False

    @classmethod
    def get_scheduler(cls) -> Scheduler:
        """Return a way to speak to the queue; its folder is named by ``POINTILLIST_QUEUE``."""
        from pointillist.cluster.schedulers.local import Local

        return Local(os.environ.get("POINTILLIST_QUEUE") or os.path.expanduser("~/.local/state/pointillist/queue"))

    @classmethod
    def script_scheduler(cls) -> Scheduler | None:
        """Return the same as :meth:`get_scheduler`."""
        return cls.get_scheduler()


class SimpleSchedulerEnvironment(LocalEnvironment):
    """The same queue, by the name that signac-flow gives to one on a single machine."""


_BASES: dict[str, type[ComputeEnvironment]] = {
    "slurm": DefaultSlurmEnvironment,
    "pbs": DefaultPBSEnvironment,
    "torque": DefaultTorqueEnvironment,
    "lsf": DefaultLSFEnvironment,
}


def make_environment(cluster: Cluster) -> type[ComputeEnvironment]:
    """Make (and thereby register) the environment of a cluster that is described as data.

    Examples
    --------
    A cluster of one's own, in ``hpc_setup.py``::

        make_environment(Cluster(
            name="Our Lab",
            hostname_pattern=r"lab\\d+\\.example\\.edu$",
            partitions=(Partition(name="cpu", cpus_per_node=64, max_walltime_s=48 * 3600),),
        ))
    """
    name = "".join(word[:1].upper() + word[1:] for word in re.split(r"\W+", cluster.name)) + "Environment"
    namespace = {"cluster": cluster, "__doc__": f"The cluster {cluster.name}.", "__module__": __name__}
    return type(name, (_BASES[cluster.scheduler],), namespace)


PACKAGED: dict[str, type[ComputeEnvironment]] = {
    environment.__name__: environment for environment in map(make_environment, CLUSTERS)
}


def has_own_prefix(environment: type[ComputeEnvironment]) -> bool:
    """Say whether an environment decides itself what goes before commands, beyond the name of what starts ranks."""
    return _has_own(environment, "get_prefix", "_get_omp_prefix", "_get_mpi_prefix")


def has_own_submit(environment: type[ComputeEnvironment]) -> bool:
    """Say whether an environment has its own way of handing scripts over."""
    return _has_own(environment, "submit")


def _has_own(environment: type[ComputeEnvironment], *names: str) -> bool:
    usual = vars(ComputeEnvironment)
    return any(inspect.getattr_static(environment, name, usual[name]) is not usual[name] for name in names)


def environments() -> list[type[ComputeEnvironment]]:
    """Return all environments that are defined, the latest first; of two with one name only the latest."""
    found: dict[str, type[ComputeEnvironment]] = {}
    for environment in sorted(_below(ComputeEnvironment), key=lambda one: -one._number):
        found.setdefault(environment.__name__, environment)
    return list(found.values())


def get_environment(test: bool = False, *, variables: Mapping[str, str] | None = None) -> type[ComputeEnvironment]:
    """Return the environment that this process is in.

    Looked for in this order: the one that a variable names, one with ``DEBUG``, in a cluster job the one that it was
    submitted from, the last defined that is present, and at last :class:`StandardEnvironment`.

    Parameters
    ----------
    test
        Return :class:`TestEnvironment`.
    variables
        The environment variables; by default those of this process.

    Raises
    ------
    EnvironmentNotFound
        When a variable names one that is not defined.
    """
    if test:
        return TestEnvironment
    given = os.environ if variables is None else variables
    known = environments()
    for variable in VARIABLES:
        name = given.get(variable)
        if name:
            return _named(name, known, variable)
    # One that only the program which submitted knows is looked for as if nothing was said.
    before = given.get(SUBMITTED_FROM_VARIABLE)
    for fits in (lambda one: one.DEBUG, lambda one: one.__name__ == before, lambda one: one.is_present()):
        if found := next(filter(fits, known), None):
            return found
    return StandardEnvironment


def _named(name: str, known: Iterable[type[ComputeEnvironment]], variable: str) -> type[ComputeEnvironment]:
    by_name = {one.__name__: one for one in known}
    if name not in by_name:
        raise EnvironmentNotFound(
            f"There is no environment {name!r}, which the variable {variable} names.",
            hint=near_matches(name, by_name),
        )
    return by_name[name]


def _below(cls: type[ComputeEnvironment]) -> Iterable[type[ComputeEnvironment]]:
    for child in cls.__subclasses__():
        yield child
        yield from _below(child)


def _hostname() -> str:
    name = socket.gethostname()
    # Only a short name is worth a question to the name server, which may take seconds.
    return name if "." in name else socket.getfqdn()
