"""What a cluster job asks for, in the options of Slurm's `sbatch` (its man page, 22.05). Builds text only."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pointillist.cluster.schedulers.requests import Request


def options_of(request: Request) -> Iterator[str]:
    """Yield the options of `sbatch` that ask for something, one a line of a script."""
    yield f"--job-name={_quoted(request.name)}"
    for option, text in (
        ("partition", request.partition),
        ("account", request.account),
        ("qos", request.qos),
        ("comment", request.comment),
        ("output", request.output),
    ):
        if text:
            yield f"--{option}={_quoted(text)}"
    if request.nodes is not None:
        yield f"--nodes={request.nodes}"
    yield f"--ntasks={request.processes}"
    yield f"--cpus-per-task={request.threads_per_process}"
    if request.gpus_per_process:
        yield f"--gpus-per-task={request.gpus_per_process}"
    elif request.gpus:
        yield f"--gpus={request.gpus}"
    if request.memory_per_core_bytes is not None:
        yield f"--mem-per-cpu={_megabytes(request.memory_per_core_bytes)}"
    elif request.memory_bytes is not None and request.processes == 1:
        yield f"--mem={_megabytes(request.memory_bytes)}"
    elif request.memory_bytes is not None:
        # --mem counts per node, and how many nodes the processes land on is Slurm's choice.
        yield f"--mem-per-cpu={_megabytes(-(-request.memory_bytes // request.cores))}"
    if request.walltime_s is not None:
        yield f"--time={_clock(request.walltime_s)}"
    if request.array is not None:
        limit = "" if request.array.limit is None else f"%{request.array.limit}"
        yield f"--array=0-{request.array.count - 1}{limit}"
    if request.signal_before_s is not None:
        yield f"--signal=B:USR1@{request.signal_before_s}"
    if request.requeue is not None:
        yield "--requeue" if request.requeue else "--no-requeue"
    if request.requeue:
        # A job that starts anew keeps what it has written.
        yield "--open-mode=append"
    yield from request.flags


def _quoted(text: str) -> str:
    if re.fullmatch(r"[\w@%+=:,./-]+", text, re.ASCII):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _megabytes(count: int) -> str:
    return f"{-(-count // 2**20)}M"


def _clock(seconds: int) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
