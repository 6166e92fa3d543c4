"""Directives in the form of signac-flow's own programs: one object for each kind, and a mapping that combines in place.

The engine itself declares them in :data:`pointillist.definition.directives.DIRECTIVES`, and evaluates and combines
them by functions; here is only another face of the same rules.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from pointillist.definition.directives import DIRECTIVES, evaluate
from pointillist.errors import DirectivesError


def _same(value: Any, *_: Any) -> Any:
    return value


_no_aggregation = _same
"""A way to combine two values: the first stands."""


class _Directive:
    """One kind of directive.

    Parameters
    ----------
    name
        Its key.
    validator
        Returns the value that is kept; raises ``ValueError`` or ``TypeError`` when it is impossible.
    default
        Its value when none is given.
    serial, parallel
        Combine the values of two operations that run one after the other, or at once.
    finalize
        Returns the value that is shown, from the one kept and the mapping of all.
    """

    def __init__(
        self,
        name: str,
        *,
        validator: Callable[[Any], Any] | None = None,
        default: Any = None,
        serial: Callable[[Any, Any], Any] = max,
        parallel: Callable[[Any, Any], Any] = operator.add,
        finalize: Callable[[Any, Mapping[str, Any]], Any] | None = None,
    ) -> None:
        self._name = name
        self._validator = validator or _same
        self._default = default
        self._serial = serial
        self._parallel = parallel
        self._finalize = finalize or _same

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._name!r}, default={self._default!r})"


def _known(name: str, default: Any, finalize: Callable[[Any, Mapping[str, Any]], Any] | None = None) -> _Directive:
    known = DIRECTIVES[name]
    return _Directive(
        name,
        validator=known.check,
        default=default,
        serial=known.serial,
        parallel=known.parallel,
        finalize=finalize,
    )


def _finalize_np(value: Any, directives: Mapping[str, Any]) -> Any:
    shape = {key: directives.get(key, 0) for key in ("nranks", "omp_num_threads")}
    return value if any(map(callable, [value, *shape.values()])) else evaluate({"np": value} | shape)["np"]


_NP = _known("np", 1, _finalize_np)
_NGPU = _known("ngpu", 0)
_NRANKS = _known("nranks", 0)
_OMP_NUM_THREADS = _known("omp_num_threads", 0)
_FORK = _known("fork", False)
_MEMORY = _known("memory", None)
_WALLTIME = _known("walltime", None)
_PROCESSOR_FRACTION = _known("processor_fraction", 1.0)


def _GET_EXECUTABLE() -> _Directive:
    """Return the kind ``executable``; by default the Python of this moment."""
    return _known("executable", sys.executable)


def default_directives() -> _Directives:
    """Return all kinds that the engine knows, with their defaults."""
    kinds = (_NP, _NGPU, _NRANKS, _OMP_NUM_THREADS, _FORK, _MEMORY, _WALLTIME, _PROCESSOR_FRACTION)
    return _Directives([_GET_EXECUTABLE(), *kinds])


class _Directives(MutableMapping[str, Any]):
    """Directives of one operation or of several together: values of known kinds, checked, and keys of the user's own.

    Parameters
    ----------
    available
        The kinds that are known.
    """

    def __init__(self, available: Iterable[_Directive]) -> None:
        self._kinds: dict[str, _Directive] = {}
        self._values: dict[str, Any] = {}
        for kind in available:
            self._add_directive(kind)

    def _add_directive(self, kind: _Directive) -> None:
        if not isinstance(kind, _Directive):
            raise TypeError(f"A kind of directive must be a _Directive, not {kind!r}.")
        if kind._name in self._kinds:
            raise ValueError(f"There is a directive {kind._name} already.")
        self._kinds[kind._name] = kind

    def _set_defined_directive(self, key: str, value: Any) -> None:
        kind = self._kinds.get(key)
        if kind is None:
            raise DirectivesError(f"There is no directive {key!r}; known are {', '.join(self._kinds)}.")
        if not callable(value):
            try:
                value = kind._validator(value)
            except (TypeError, ValueError, OverflowError) as error:
                raise DirectivesError(f"The directive {key} can't be {value!r}: {error}.") from error
        self._values[key] = value

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self._kinds:
            self._set_defined_directive(key, value)
        else:
            self._values[key] = value

    def __getitem__(self, key: str) -> Any:
        kind = self._kinds.get(key)
        if kind is None:
            return self._values[key]
        return kind._finalize(self._values.get(key, kind._default), _Raw(self))

    def __delitem__(self, key: str) -> None:
        """Forget a key of the user's own; put a known one back to its default."""
        if key in self._kinds:
            self._values.pop(key, None)
        else:
            del self._values[key]

    def __iter__(self) -> Iterator[str]:
        yield from self._kinds
        yield from (key for key in self._values if key not in self._kinds)

    def __len__(self) -> int:
        return len(self._kinds.keys() | self._values.keys())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self)})"

    def update(self, other: Any = (), /, aggregate: bool = False, parallel: bool = False, **more: Any) -> None:
        """Take the values of another mapping, or combine them with those that are here.

        Parameters
        ----------
        aggregate
            Combine known kinds; a key of the user's own stands if it is here already.
        parallel
            As for operations that run at once, rather than one after the other.
        """
        values = dict(other, **more)
        if aggregate:
            ways = {key: kind._parallel if parallel else kind._serial for key, kind in self._kinds.items()}
            values = {
                key: ways[key](self[key], value) if key in ways else self.get(key, value)
                for key, value in values.items()
            }
        for key, value in values.items():
            self[key] = value

    def evaluate(self, jobs: tuple[Any, ...] | None) -> None:
        """Put values in the place of functions of the jobs.

        Raises
        ------
        RuntimeError
            When there is such a function and no jobs.
        """
        for key, value in list(self._values.items()):
            if callable(value):
                if jobs is None:
                    raise RuntimeError(f"The directive {key} is a function of jobs, and none are given.")
                self[key] = value(*jobs)

    @property
    def user_keys(self) -> set[str]:
        """The keys that only the user knows."""
        return set(self) - set(self._kinds)


class _Raw(Mapping[str, Any]):
    """The values as they are kept, for a kind that looks at others to show its own."""

    def __init__(self, directives: _Directives) -> None:
        self._of = directives

    def __getitem__(self, key: str) -> Any:
        kind = self._of._kinds.get(key)
        return self._of._values[key] if kind is None else self._of._values.get(key, kind._default)

    def __iter__(self) -> Iterator[str]:
        return iter(self._of)

    def __len__(self) -> int:
        return len(self._of)
