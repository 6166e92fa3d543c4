"""Directives: what an operation asks of the machine, as plain values or functions of its jobs.

The known ones are checked and normalised (memory in gigabytes, walltime as a ``timedelta``); any other key belongs to
the user and is kept as it is. Combining the directives of several operations adds up what they need one after the
other (``serial``) or at once (``parallel``).
"""

from __future__ import annotations

import datetime
import operator
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pointillist.definition.asking import ask
from pointillist.errors import DirectivesError

_MEMORY = re.compile(r"\s*([0-9.]+(?:e[0-9]+)?)\s*(?:(g|m)b?)?\s*", re.IGNORECASE)


def memory_gigabytes(value: Any) -> float | None:
    """Return memory in gigabytes, from a number of them or text such as ``"512m"`` or ``"4GB"``."""
    if value is None:
        return None
    unit = None
    if isinstance(value, (str, bool)):
        match = _MEMORY.fullmatch(str(value))
        if match is None:
            raise ValueError("write a number of gigabytes, or text such as '4GB' or '512m'")
        value, unit = match.groups()
    number = float(value) / (1024 if unit and unit.lower() == "m" else 1)
    if not number > 0:
        raise ValueError("it must be more than zero")
    return number


def walltime(value: Any) -> datetime.timedelta | None:
    """Return a walltime, from a number of hours or a ``timedelta``."""
    if value is None:
        return None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = datetime.timedelta(hours=value)
    if not isinstance(value, datetime.timedelta):
        raise ValueError("it must be a number of hours or a timedelta")
    if value < datetime.timedelta(seconds=1):
        raise ValueError("it must be at least one second")
    return value


def walltime_hours(value: Any) -> float:
    """Return a walltime in hours, from a number of hours or a ``timedelta``.

    Raises
    ------
    DirectivesError
        When it is neither, or shorter than a second.
    """
    try:
        checked = walltime(value)
        if checked is None:
            raise ValueError("it must be a number of hours or a timedelta")
    except (ValueError, OverflowError) as error:
        raise DirectivesError(f"The directive walltime can't be {value!r}: {error}.") from error
    return checked.total_seconds() / 3600


def _integer(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        number = int(value)
        if number < least:
            raise ValueError(f"it must be at least {least}")
        return number

    return check


def _fraction(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError("it must lie between 0 and 1")
    return number


def _first(a: Any, _b: Any) -> Any:
    return a


def _known(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: b if a is None else a if b is None else combine(a, b)


@dataclass(frozen=True)
class Directive:
    """One known directive: how its value is checked, what it is by default, and how two combine."""

    check: Callable[[Any], Any]
    default: Any
    serial: Callable[[Any, Any], Any] = max
    parallel: Callable[[Any, Any], Any] = operator.add


DIRECTIVES: dict[str, Directive] = {
    "executable": Directive(str, None, _first, _first),
    "fork": Directive(bool, False, max, max),
    "memory": Directive(memory_gigabytes, None, _known(max), _known(operator.add)),
    "ngpu": Directive(_integer(0), 0),
    "np": Directive(_integer(1), None),
    "nranks": Directive(_integer(0), 0),
    "omp_num_threads": Directive(_integer(0), 0),
    "processor_fraction": Directive(_fraction, 1.0, _first, _first),
    "walltime": Directive(walltime, None, _known(operator.add), _known(max)),
}


class Directives(dict[str, Any]):
    """The evaluated directives of one task: the known ones, checked and complete, and the user's own."""

    @property
    def user_keys(self) -> set[str]:
        """The keys that only the user knows."""
        return set(self) - set(DIRECTIVES)


def checked_directives(whose: str, declared: Any) -> dict[str, Any] | None:
    """Return directives as they were declared, when they are directives at all; None for None.

    Raises
    ------
    DirectivesError
        When they are no mapping of names.
    """
    if declared is None:
        return None
    if not isinstance(declared, Mapping):
        raise DirectivesError(
            f"The directives of {whose} can't be {declared!r}.", hint='Write {"np": 4, "walltime": 2}.'
        )
    return dict(declared)


def evaluate(
    directives: Mapping[str, Any], jobs: Callable[[], tuple[Any, ...]] = tuple, *, operation: str = ""
) -> Directives:
    """Evaluate the directives of one task.

    Parameters
    ----------
    directives
        As declared.
    jobs
        Returns the jobs; called only when a directive is a function of them.
    operation
        Whose directives they are, for messages.

    Raises
    ------
    DirectivesError
        When one has an impossible value.
    """
    values = Directives({name: known.default for name, known in DIRECTIVES.items()})
    whose = f" of {operation}" if operation else ""
    for key, value in directives.items():
        if callable(value):
            value = _value_of(f"{key}{whose}", value, jobs())
        if key in DIRECTIVES:
            try:
                value = DIRECTIVES[key].check(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise DirectivesError(f"The directive {key}{whose} can't be {value!r}: {error}.") from error
        values[key] = value
    if values["executable"] is None:
        values["executable"] = sys.executable
    # One core, or one for each thread of each rank, when nothing more is asked for.
    if values["np"] in (None, 1):
        values["np"] = max(1, values["nranks"]) * max(1, values["omp_num_threads"])
    return values


def _value_of(name: str, function: Callable[..., Any], jobs: tuple[Any, ...]) -> Any:
    return ask(lambda: function(*jobs), lambda what: DirectivesError(f"The directive {name} raised {what}."))


def combine(directives: Iterable[Mapping[str, Any]], *, parallel: bool = False) -> Directives:
    """Combine evaluated directives of operations that run one after the other, or at once.

    A key of the user's own is kept from the first operation that has it.
    """
    result: Directives | None = None
    for values in directives:
        if result is None:
            result = Directives(values)
            continue
        for key, value in values.items():
            known = DIRECTIVES.get(key)
            if known is None or key not in result:
                result.setdefault(key, value)
            else:
                result[key] = (known.parallel if parallel else known.serial)(result[key], value)
    return Directives() if result is None else result
