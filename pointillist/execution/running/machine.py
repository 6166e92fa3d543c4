"""What this machine has, what tasks need of it, and who has what at the moment.

Decides; starts nothing. Cores, GPUs and memory are slots: a task starts when what it needs is free.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pointillist.state.slices import count_cores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Needs:
    """What the tasks that one process works through need.

    Parameters
    ----------
    cores
        Processor cores; a fraction where tasks share one.
    gpus
        Whole GPUs.
    memory_gb
        Gigabytes of memory; 0 when nothing was declared.
    """

    cores: float = 1.0
    gpus: int = 0
    memory_gb: float = 0.0

    @classmethod
    def of(cls, directives: Mapping[str, Any]) -> Needs:
        """Return what evaluated directives ask for."""
        return cls(
            cores=directives["np"] * directives["processor_fraction"],
            gpus=directives["ngpu"],
            memory_gb=directives["memory"] or 0.0,
        )

    @classmethod
    def largest(cls, needs: Iterable[Needs]) -> Needs:
        """Return what is enough for each of several tasks that run one after the other."""
        several = list(needs)
        return cls(
            max(need.cores for need in several),
            max(need.gpus for need in several),
            max(need.memory_gb for need in several),
        )


@dataclass(frozen=True)
class Grant:
    """What a task was handed."""

    needs: Needs
    gpus: tuple[str, ...]

    def variables(self, threads: int) -> dict[str, str]:
        """Return the environment variables that keep a process to what it was handed.

        Parameters
        ----------
        threads
            Threads that each of its processes may use.
        """
        variables = {name: str(threads) for name in THREAD_VARIABLES}
        if self.gpus:
            variables["CUDA_VISIBLE_DEVICES"] = ",".join(self.gpus)
        return variables


NOTHING = Grant(Needs(0.0), ())
"""What a task is handed where nothing is counted."""


@dataclass
class Machine:
    """The slots of one machine.

    Parameters
    ----------
    cores, gpus, memory_gb
        What there is in all; ``gpus`` are the names by which ``CUDA_VISIBLE_DEVICES`` calls them.
    """

    cores: float
    gpus: tuple[str, ...]
    memory_gb: float
    _cores: float = field(init=False)
    _gpus: list[str] = field(init=False)
    _memory_gb: float = field(init=False)

    def __post_init__(self) -> None:
        self._cores, self._gpus, self._memory_gb = self.cores, list(self.gpus), self.memory_gb

    def lacks(self, needs: Needs) -> str:
        """Say what a task needs that this machine does not have at all; empty when it could run."""
        for needed, there, one, several in (
            (needs.cores, self.cores, "core", "cores"),
            (needs.gpus, len(self.gpus), "GPU", "GPUs"),
            (needs.memory_gb, self.memory_gb, "GB of memory", "GB of memory"),
        ):
            if needed > there:
                verb = "is" if there == 1 else "are"
                return f"it needs {needed:g} {one if needed == 1 else several}, and there {verb} {there:g}"
        return ""

    def fits(self, needs: Needs) -> bool:
        """Say whether what a task needs is free now."""
        return (
            needs.cores <= self._cores + 1e-9
            and needs.gpus <= len(self._gpus)
            and needs.memory_gb <= self._memory_gb + 1e-9
        )

    def take(self, needs: Needs) -> Grant:
        """Hand out what a task needs."""
        assert self.fits(needs)
        self._cores -= needs.cores
        self._memory_gb -= needs.memory_gb
        gpus, self._gpus = self._gpus[: needs.gpus], self._gpus[needs.gpus :]
        return Grant(needs, tuple(gpus))

    def give_back(self, grant: Grant) -> None:
        """Take back what a task no longer needs."""
        self._cores += grant.needs.cores
        self._memory_gb += grant.needs.memory_gb
        self._gpus = sorted([*self._gpus, *grant.gpus], key=self.gpus.index)


def threads_of(directives: Mapping[str, Any]) -> int:
    """Return how many threads each process of a task may use: as declared, or its share of the cores."""
    declared = int(directives["omp_num_threads"])
    return declared or max(1, int(directives["np"] // max(1, directives["nranks"])))


def detect(
    *, processes: int, cores: int | None = None, gpus: int | None = None, memory_gb: float | None = None
) -> Machine:
    """Return what this machine has, or what the user says it has.

    Parameters
    ----------
    processes
        How many processes the user wants at once; asking for more than there are cores means to share them.
    cores, gpus, memory_gb
        Used instead of what is detected.
    """
    return Machine(
        cores=max(count_cores(), processes) if cores is None else cores,
        gpus=_visible_gpus() if gpus is None else _so_many_gpus(gpus),
        memory_gb=_memory_gb() if memory_gb is None else memory_gb,
    )


def _visible_gpus() -> tuple[str, ...]:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return tuple(name.strip() for name in visible.split(",") if name.strip() and name.strip() != "-1")
    if any(re.fullmatch("nvidia[0-9]+", name) for name in os.listdir("/dev")):
        import subprocess

        with contextlib.suppress(OSError, subprocess.SubprocessError):
            answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=True)
            return tuple(str(number) for number, line in enumerate(answer.stdout.splitlines()) if line)
    return ()


def _so_many_gpus(count: int) -> tuple[str, ...]:
    """Name so many GPUs: those that are visible before others, which may be somebody else's."""
    visible = _visible_gpus()
    others = (number for number in map(str, itertools.count()) if number not in visible)
    return tuple(itertools.islice(itertools.chain(visible, others), count))


def _memory_gb() -> float:
    """Return the memory of the machine, or of the control group this process lives in, when that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError), open(path) as file:
            total = min(total, int(file.read()))
    return total / 1024**3
