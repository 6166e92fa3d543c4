"""What tasks need of a machine, from their directives, and what several of them need together.

Arithmetic only: a batch or a serial bundle needs the most that any of its tasks needs, for as long as all of them
take; tasks at the same time need the sum, for as long as the longest takes. A task that does not say what it needs of
something adds nothing to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pointillist.definition.directives import memory_gigabytes, walltime_hours
from pointillist.errors import DirectivesError
from pointillist.execution.requeues import most_requeues

_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What one cluster job needs.

    Attributes
    ----------
    processes, threads
        Layout of its cores: processes times threads.
    gpus_per_process
        GPUs that belong to each process.
    loose_gpus
        GPUs in all, where they belong to no process in particular; not beside ``gpus_per_process``.
    memory_bytes, memory_per_core_bytes
        At most one of them; None takes what the cluster gives.
    walltime_s
        None takes what the cluster gives.
    signal_before_s, requeue
        As in :class:`~pointillist.cluster.schedulers.requests.Request`.
    """

    processes: int = 1
    threads: int = 1
    gpus_per_process: int = 0
    loose_gpus: int = 0
    memory_bytes: int | None = None
    memory_per_core_bytes: int | None = None
    walltime_s: int | None = None
    signal_before_s: int | None = None
    requeue: bool | None = None

    @property
    def cores(self) -> int:
        """Cores in all."""
        return self.processes * self.threads

    @property
    def gpus(self) -> int:
        """GPUs in all."""
        return self.loose_gpus or self.processes * self.gpus_per_process

    @property
    def memory(self) -> int | None:
        """Memory in all."""
        if self.memory_per_core_bytes is not None:
            return self.memory_per_core_bytes * self.cores
        return self.memory_bytes


def needs_of(directives: Mapping[str, Any]) -> Needs:
    """Read the directives of one task.

    ``processes``, ``threads_per_process``, ``gpus_per_process`` and ``memory_per_core`` say it directly. Of the older
    keys, ``nranks`` counts processes, ``omp_num_threads`` threads of each, and ``np`` processors in all: without
    ``nranks`` these are the threads of one process. ``ngpu`` and ``memory`` count for the whole task.
    """
    ranks = _number(directives, "processes", "nranks") or 1
    threads = _number(directives, "threads_per_process", "omp_num_threads") or 1
    if "threads_per_process" not in directives:
        wanted = math.ceil((_number(directives, "np") or 1) * float(directives.get("processor_fraction") or 1))
        threads = max(threads, -(-wanted // ranks))
    per_process = _number(directives, "gpus_per_process")
    per_core = _bytes(directives, "memory_per_core")
    walltime = directives.get("walltime")
    walltime_s = None if walltime is None else math.ceil(walltime_hours(walltime) * 3600 - 1e-6)
    signal_before_s = _number(directives, "signal_before_s") or None
    if walltime_s is not None and signal_before_s is not None and signal_before_s >= walltime_s:
        raise DirectivesError(
            f"A signal {signal_before_s} s before the end can't be sent within a walltime of {walltime_s} s.",
            hint="signal_before_s must be less than the walltime.",
        )
    requeues = most_requeues(directives)
    return Needs(
        processes=ranks,
        threads=threads,
        gpus_per_process=per_process,
        loose_gpus=0 if per_process else _number(directives, "ngpu"),
        memory_bytes=_bytes(directives, "memory") if per_core is None else None,
        memory_per_core_bytes=per_core,
        walltime_s=walltime_s,
        signal_before_s=signal_before_s,
        requeue=None if requeues is None else requeues > 0,
    )


def one_after_another(needs: Sequence[Needs]) -> Needs:
    """Return what tasks need together that run one after another."""
    largest = max(needs, key=lambda one: (one.cores, one.gpus))
    gpus = max(one.gpus for one in needs)
    times = [one.walltime_s for one in needs if one.walltime_s is not None]
    return _with_totals(
        largest,
        needs,
        gpus=gpus,
        memory=max((one.memory for one in needs if one.memory is not None), default=None),
        walltime=sum(times) if times else None,
    )


def at_once(needs: Sequence[Needs]) -> Needs:
    """Return what tasks need together that run at the same time."""
    first = needs[0]
    if all((one.threads, one.gpus_per_process) == (first.threads, first.gpus_per_process) for one in needs):
        shape = replace(first, processes=sum(one.processes for one in needs))
    else:
        shape = replace(first, processes=sum(one.cores for one in needs), threads=1, gpus_per_process=0)
    memories = [one.memory for one in needs if one.memory is not None]
    times = [one.walltime_s for one in needs if one.walltime_s is not None]
    return _with_totals(
        shape,
        needs,
        gpus=sum(one.gpus for one in needs),
        memory=sum(memories) if memories else None,
        walltime=max(times, default=None),
    )


def _with_totals(shape: Needs, needs: Sequence[Needs], *, gpus: int, memory: int | None, walltime: int | None) -> Needs:
    per_core = {one.memory_per_core_bytes for one in needs}
    same_per_core = per_core.pop() if len(per_core) == 1 else None
    keeps_gpus = shape.gpus_per_process * shape.processes == gpus
    signals = [one.signal_before_s for one in needs if one.signal_before_s is not None]
    requeues = {one.requeue for one in needs}
    return Needs(
        processes=shape.processes,
        threads=shape.threads,
        gpus_per_process=shape.gpus_per_process if keeps_gpus else 0,
        loose_gpus=0 if keeps_gpus else gpus,
        memory_bytes=None if same_per_core is not None else memory,
        memory_per_core_bytes=same_per_core,
        walltime_s=walltime,
        signal_before_s=max(signals, default=None),
        requeue=requeues.pop() if len(requeues) == 1 else None,
    )


def _bytes(directives: Mapping[str, Any], name: str) -> int | None:
    try:
        value = memory_gigabytes(directives.get(name))
    except (TypeError, ValueError) as error:
        raise DirectivesError(f"The directive {name} can't be {directives.get(name)!r}: {error}.") from error
    return None if value is None else math.ceil(value * _GIB)


def _number(directives: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = directives.get(name)
        if value:
            try:
                number = int(value)
            except (TypeError, ValueError):
                number = -1
            if number < 0 or number != value:
                raise DirectivesError(f"The directive {name} must be a whole number, not {value!r}.")
            return number
    return 0
