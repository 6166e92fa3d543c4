"""What one cluster job asks for, in no scheduler's dialect.

Owns the values of a request and the arithmetic between them (cores, GPUs, memory in all). It knows no
scheduler's spelling: adapters turn a request into their header lines and arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pointillist.cluster.errors import RequestError


class After(StrEnum):
    """Name what must have become of another cluster job before this one may start."""

    OK = "ok"
    """It (every element of it) ended with exit code 0."""
    NOT_OK = "not_ok"
    """It ended otherwise."""
    ANY = "any"
    """It ended, however."""
    STARTED = "started"
    """It started."""
    ELEMENTWISE = "elementwise"
    """Element i of this array waits for element i of that one to end with exit code 0."""


@dataclass(frozen=True)
class Dependency:
    """Wait for another cluster job.

    Attributes
    ----------
    kind
        What must have become of it.
    job_id
        Its id as `Scheduler.submit` returned it; ``<id>_<index>`` means one element of an array.
    """

    kind: After
    job_id: str


@dataclass(frozen=True)
class Array:
    """Ask for many elements of one script at once; each finds its own index in the environment.

    Attributes
    ----------
    count
        Number of elements; their indices are 0 to ``count - 1`` under every scheduler.
    limit
        How many may run at one time; None leaves it to the scheduler.
    """

    count: int
    limit: int | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise RequestError(f"An array of {self.count} elements cannot be submitted.")
        if self.limit is not None and self.limit < 1:
            raise RequestError(f"An array that runs {self.limit} elements at a time never ends.")


@dataclass(frozen=True, kw_only=True)
class Request:
    """Describe what one cluster job (or each element of one array) asks for.

    Attributes
    ----------
    name
        Name in the queue. It is how a submission whose answer was lost is found again, so it should be
        unique.
    processes, threads_per_process, gpus_per_process
        Layout. Cores are processes times threads.
    gpus
        GPUs in all, when they belong to the job rather than to its processes; adds to nothing, replaces
        `gpus_per_process`.
    nodes
        Number of nodes; None leaves it to the scheduler.
    memory_bytes, memory_per_core_bytes
        Memory in all, or per core; at most one of them. None takes the cluster's default.
    walltime_s
        Time limit in seconds; None takes the cluster's default.
    partition, account, qos
        Where and on whose account; empty takes the cluster's default.
    output
        Where stdout and stderr go, in the scheduler's own pattern language; see `Scheduler.output_pattern`.
    hold
        Do not start until released.
    after
        Cluster jobs to wait for; all of them.
    cancel_if_never
        Have the scheduler cancel this job when `after` can no longer be met, rather than keep it for ever.
    array
        Submit as an array; None submits a single job.
    comment
        Free text kept with the job.
    signal_before_s
        Send SIGUSR1 to the script this many seconds before the time limit, where the scheduler can.
    requeue
        Whether the scheduler may put the job back after a node failure or preemption; None takes its default.
    flags
        Further options, each one header line, in the scheduler's own words (``--constraint=a100``).
    """

    name: str
    processes: int = 1
    threads_per_process: int = 1
    gpus_per_process: int = 0
    gpus: int | None = None
    nodes: int | None = None
    memory_bytes: int | None = None
    memory_per_core_bytes: int | None = None
    walltime_s: int | None = None
    partition: str = ""
    account: str = ""
    qos: str = ""
    output: str = ""
    hold: bool = False
    after: tuple[Dependency, ...] = ()
    cancel_if_never: bool = True
    array: Array | None = None
    comment: str = ""
    signal_before_s: int | None = None
    requeue: bool | None = None
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("processes", 1), ("threads_per_process", 1), ("gpus_per_process", 0)):
            if getattr(self, name) < least:
                raise RequestError(f"Request '{self.name}': {name} is {getattr(self, name)}, not {least} or more.")
        for name in (
            "gpus",
            "nodes",
            "memory_bytes",
            "memory_per_core_bytes",
            "walltime_s",
            "signal_before_s",
        ):
            value, least = getattr(self, name), 0 if name == "gpus" else 1
            if value is not None and value < least:
                raise RequestError(f"Request '{self.name}': {name} is {value}, not {least} or more.")
        if self.memory_bytes is not None and self.memory_per_core_bytes is not None:
            raise RequestError(
                f"Request '{self.name}' states its memory twice.",
                hint="Give it in all or per core, not both.",
            )
        if self.gpus is not None and self.gpus_per_process:
            raise RequestError(
                f"Request '{self.name}' states its GPUs twice.",
                hint="Give them in all or per process, not both.",
            )
        for name in ("name", "partition", "account", "qos", "output", "comment"):
            check_one_line(getattr(self, name), what=name, request=self.name)
        for flag in self.flags:
            check_one_line(flag, what="flag", request=self.name)

    @property
    def cores(self) -> int:
        """Cores in all."""
        return self.processes * self.threads_per_process

    @property
    def total_gpus(self) -> int:
        """GPUs in all."""
        return self.gpus if self.gpus is not None else self.processes * self.gpus_per_process

    @property
    def total_memory_bytes(self) -> int | None:
        """Memory in all; None when the request leaves it to the cluster."""
        if self.memory_per_core_bytes is not None:
            return self.memory_per_core_bytes * self.cores
        return self.memory_bytes


def check_one_line(text: str, *, what: str, request: str) -> None:
    """Refuse control characters: a line break would end the header line and start a command."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        raise RequestError(
            f"Request {request!r}: its {what} {text!r} holds a line break or control character.",
            hint="A script's header cannot say that; choose another name or path.",
        )


def element_id(job_id: str, index: int) -> str:
    """Return the id of element `index` of the array `job_id`."""
    return f"{job_id}_{index}"


def split_id(cluster_id: str) -> tuple[str, int | None]:
    """Return the job's id and, for an element of an array, its index."""
    base, separator, index = cluster_id.rpartition("_")
    if separator and base and index.isdecimal():
        return base, int(index)
    return cluster_id, None
