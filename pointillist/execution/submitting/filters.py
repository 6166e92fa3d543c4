"""The filters of script templates: how they add up what operations ask for, and write it down.

Pure but for the warning that a template may print. An *operation* is anything with ``directives``.
"""

from __future__ import annotations

import datetime
import math
import shlex
import sys
from collections.abc import Callable, Iterable
from typing import Any

from pointillist.cluster.errors import TemplateError
from pointillist.definition.directives import memory_gigabytes
from pointillist.errors import ConfigKeyError
from pointillist.wording import counted

_NONE_GIVEN: Any = object()


def format_timedelta(delta: datetime.timedelta, style: str = "HH:MM:SS") -> str:
    """Return a time as hours, minutes and seconds; more than a day is more than 24 hours."""
    hours, rest = divmod(math.ceil(delta.total_seconds() - 1e-6), 3600)
    minutes, seconds = divmod(rest, 60)
    if style == "HH:MM":
        minutes += seconds > 0
        return f"{hours + minutes // 60:02d}:{minutes % 60:02d}"
    if style != "HH:MM:SS":
        raise TemplateError(f"format_timedelta knows the styles HH:MM:SS and HH:MM, not {style!r}.")
    return f"{hours:02d}:{minutes:02d}:{seconds:02d}"


def format_memory(memory: float) -> str:
    """Return gigabytes as a scheduler wants them: ``4G``, or ``512M`` where they are no whole number."""
    return f"{int(memory)}G" if float(memory).is_integer() else f"{math.ceil(memory * 1024)}M"


def identical(values: Iterable[Any]) -> Any:
    """Return the one value that all have."""
    found = list(values)
    if any(value != found[0] for value in found):
        raise TemplateError(f"All values must be the same, and there are {', '.join(map(str, found))}.")
    return found[0] if found else None


def with_np_offset(operations: Iterable[Any]) -> Iterable[Any]:
    """Yield the operations, each with how many processors those before it use, as the directive ``np_offset``."""
    offset = 0
    for operation in operations:
        if isinstance(operation.directives, dict):
            operation.directives.setdefault("np_offset", offset)
        offset += int(operation.directives.get("np") or 1)
        yield operation


def calc_tasks(operations: Iterable[Any], name: str, parallel: bool = False, allow_mixed: bool = False) -> int:
    """Return how much of a countable directive operations need together."""
    counts = [
        math.ceil(float(one.directives.get(name) or 0) * float(one.directives.get("processor_fraction") or 1))
        for one in operations
    ]
    if len(set(counts)) > 1 and not allow_mixed:
        raise TemplateError(
            f"The operations of one bundle ask for different {name}: {', '.join(map(str, sorted(set(counts))))}.",
            hint="Bundle operations that ask for the same, or use --force.",
        )
    return sum(counts) if parallel else max(counts, default=0)


def calc_walltime(operations: Iterable[Any], parallel: bool = False) -> datetime.timedelta:
    """Return how long operations take together; no time at all when none says."""
    times = [one.directives["walltime"] for one in operations if one.directives.get("walltime") is not None]
    return max(times, default=datetime.timedelta()) if parallel else sum(times, datetime.timedelta())


def calc_memory(operations: Iterable[Any], parallel: bool = False) -> float:
    """Return how much memory operations need together, in gigabytes; 0 when none says."""
    sizes = [memory_gigabytes(one.directives.get("memory")) or 0.0 for one in operations]
    return sum(sizes) if parallel else max(sizes, default=0.0)


def calc_num_nodes(np: int, ppn: int = 1, threshold: float = 0.0, name: str = "task") -> int:
    """Return how many nodes hold ``np`` tasks, ``ppn`` on each; refuse where less than ``threshold`` is used."""
    return check_utilization(math.ceil(np / ppn), np, ppn, threshold, name)


def check_utilization(nn: int, np: int, ppn: int, threshold: float = 0.9, name: str = "task") -> int:
    """Return the number of nodes ``nn``; refuse where ``np`` tasks would use them less than ``threshold``.

    Raises
    ------
    ValueError
        When the threshold is no share.
    TemplateError
        When too little of the nodes would be used.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"The threshold of use must lie between 0 and 1, not at {threshold}.")
    if nn and np / (nn * ppn) < threshold:
        raise TemplateError(
            f"{counted(np, name or 'task')} would use {np / (nn * ppn):.0%} of {counted(nn, 'node')}"
            f" with {counted(ppn, 'processor')} each,"
            f" and at least {threshold:.0%} are wanted",
            hint="Ask for what fills nodes, or use --force.",
        )
    return nn


def homogeneous_openmp_mpi_config(operations: Iterable[Any]) -> bool:
    """Whether all operations have the same ranks and threads."""
    shapes = {(one.directives.get("nranks"), one.directives.get("omp_num_threads")) for one in operations}
    return len(shapes) <= 1


def print_warning(message: str) -> str:
    """Print a warning on standard error."""
    print(f"Warning: {message}", file=sys.stderr)
    return ""


def get_config_value(project: Any, key: str, ns: str | None = None, default: Any = _NONE_GIVEN) -> Any:
    """Return a value of the signac configuration: ``flow.KEY``, or ``flow.NS.KEY`` with a namespace.

    Raises
    ------
    ConfigKeyError
        When it is not there and no default is given.
    """
    keys = ["flow", key] if ns is None else ["flow", ns, key]
    value = project.config
    for part in keys:
        try:
            value = value[part]
        except (KeyError, TypeError):
            if default is not _NONE_GIVEN:
                return default
            name = ".".join(map(str, keys))
            raise ConfigKeyError(
                f"The signac configuration has no key {name}.", hint=f"Set it: signac config set {name} VALUE"
            ) from None
    return value


def get_account_name(project: Any, required: bool = False) -> Any:
    """Return the account to which cluster jobs are charged, by the environment of the project; None when not set.

    Raises
    ------
    TemplateError
        When it is required and not set.
    """
    environment = project._environment.__name__
    account = get_config_value(project, "account", environment, None)
    if account is None and required:
        raise TemplateError(
            f"The environment {environment} needs an account.",
            hint=f"Set it once: signac config set flow.{environment}.account ACCOUNT, or give --account.",
        )
    return account


FILTERS: dict[str, Callable[..., Any]] = {
    "format_timedelta": format_timedelta,
    "format_memory": format_memory,
    "identical": identical,
    "with_np_offset": with_np_offset,
    "calc_tasks": calc_tasks,
    "calc_walltime": calc_walltime,
    "calc_memory": calc_memory,
    "calc_num_nodes": calc_num_nodes,
    "check_utilization": check_utilization,
    "homogeneous_openmp_mpi_config": homogeneous_openmp_mpi_config,
    "print_warning": print_warning,
    "get_config_value": get_config_value,
    "get_account_name": get_account_name,
    "quote_argument": lambda value: shlex.quote(str(value)),
}
