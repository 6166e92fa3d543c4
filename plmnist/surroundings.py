"""What can be known of this process: the code and packages it runs, on what machine, for whom.

Facts are gathered once a process, where they are at hand: torch is asked only if it has been imported anyway.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from plmnist import __version__
from plmnist.results.files import sha256

__all__ = ["command", "lock_file", "machine_facts", "process_facts", "source_hash", "versions"]

_PACKAGES = ("torch", "numpy", "safetensors", "lightning", "matplotlib", "pillow")
"""What the bytes of the results depend on."""

_SCHEDULER = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX")
_NUMERIC = (
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
"""Variables by which a machine can be told to compute otherwise."""

_DRIVER = Path("/proc/driver/nvidia/version")


@functools.cache
def command(parent: str) -> list[str]:
    """Return the command without the folders in `parent`, of which there may be thousands."""
    words = sys.orig_argv
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if before.startswith("--") or os.path.dirname(word) != parent or not os.path.isdir(word)
    ]


def lock_file() -> Path | None:
    """Return the file with the exact versions of all packages, where plmnist runs from a clone or a container."""
    path = Path(__file__).resolve().parent.parent / "requirements" / "study.txt"
    return path if path.is_file() else None


@functools.cache
def process_facts() -> Mapping[str, Any]:
    """Return what is the same for everything this process makes: code, packages, place."""
    import platform

    present = os.environ
    return {
        "code": _code(),
        "packages": versions(_PACKAGES),
        "python": {"version": platform.python_version(), "implementation": platform.python_implementation()},
        "host": platform.node(),
        "working_folder": os.getcwd(),
        "scheduler": {name: present[name] for name in _SCHEDULER if present.get(name)},
        "session": present.get("POINTILLIST_SESSION") or None,
        "container": {
            "image": present.get("CONTAINER_IMAGE") or present.get("APPTAINER_CONTAINER") or None,
            "digest": present.get("CONTAINER_DIGEST") or None,
        },
    }


def _code() -> dict[str, Any]:
    """Return version and hash of the code that computes, and where it comes from a clone, its commit."""
    package = Path(__file__).resolve().parent
    lock = lock_file()
    return {
        "plmnist": __version__,
        "source_sha256": source_hash(package),
        **_commit(package.parent),
        "lock_sha256": sha256(lock.read_bytes()) if lock is not None else None,
    }


def source_hash(folder: Path) -> str:
    """Return a hash of the Python files in and below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _commit(root: Path) -> dict[str, Any]:
    """Return the commit of a clone, or of what a container was built from, and whether the files differ from it."""
    import subprocess

    if not (root / ".git").exists():
        built = os.environ.get("PLMNIST_COMMIT", "")
        return {"commit": built.removesuffix("-dirty") or None, "dirty": built.endswith("-dirty") if built else None}
    command = ["git", "--no-optional-locks", "-C", str(root), "status", "--porcelain=v2", "--branch", "-uno"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return {"commit": None, "dirty": None}
    commit = next((line.split()[-1] for line in found if line.startswith("# branch.oid ")), None)
    return {"commit": commit, "dirty": any(not line.startswith("#") for line in found)}


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of packages, of those that are installed."""
    return {name: version for name in packages if (version := _version(name))}


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def machine_facts(has_torch: bool) -> Mapping[str, Any]:
    """Return what the bytes of a computation depend on besides the code."""
    # A computation on a GPU sets one of the variables, which earlier records of the process lack.
    return {**_fixed_facts(has_torch), "variables": {n: os.environ[n] for n in _NUMERIC if os.environ.get(n)}}


@functools.cache
def _fixed_facts(has_torch: bool) -> Mapping[str, Any]:
    import platform

    facts: dict[str, Any] = {
        "system": platform.platform(),
        "architecture": platform.machine(),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": 1,  # plmnist.evaluation.one_thread
        "gpu_driver": _gpu_driver(),
        "torch": _version("torch"),
        "torch_commit": None,
        "torch_build_sha256": None,
        "cpu_capability": None,
    }
    if has_torch:
        import torch

        facts["torch"] = str(torch.__version__)
        facts["torch_commit"] = torch.version.git_version
        facts["torch_build_sha256"] = hashlib.sha256(torch.__config__.show().encode()).hexdigest()
        facts["cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    return facts


def _gpu_driver() -> str | None:
    """Return the first line that NVIDIA's driver says of itself, which names its version; None without one."""
    with contextlib.suppress(OSError, IndexError):
        return _DRIVER.read_text().splitlines()[0]
    return None


def _cpu() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:
        entries: dict[str, str] = {}
        for line in lines:
            if not line.strip():
                break
            key, _, value = line.partition(":")
            entries[key.strip()] = value.strip()
        keys = ("model name", "cpu family", "model", "stepping")
        found = [entries[key] for key in keys if key in entries]
        if found:
            return " ".join(found)
    return os.uname().machine
