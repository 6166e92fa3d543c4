"""Aggregates: which jobs one task of an operation works on.

Owns the grouping of jobs into tuples and the ids of those tuples. Knows nothing of conditions or tasks; reads state
points only through the :class:`JobSource` it is given.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from pointillist.definition.marks import mark
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.definition.stores import AggregateStore

F = TypeVar("F", bound=Callable[..., Any])


class Aggregate(NamedTuple):
    """The ids of the jobs that one task works on, and the id of the tuple itself."""

    id: str
    job_ids: tuple[str, ...]


def aggregate_of(job_ids: Iterable[str]) -> Aggregate:
    """Make an aggregate; its id is the job's own id for one job and depends on the order for several."""
    ids = tuple(job_ids)
    return Aggregate(aggregate_id(ids), ids)


def aggregate_id(job_ids: Sequence[str]) -> str:
    """Return the id of a tuple of jobs: the job id, or ``agg-`` and the MD5 of the ids joined by commas."""
    if len(job_ids) == 1:
        return job_ids[0]
    return "agg-" + hashlib.md5(",".join(job_ids).encode(), usedforsecurity=False).hexdigest()


def get_aggregate_id(aggregate: Iterable[Any]) -> str:
    """Return the id of an aggregate of signac jobs."""
    return aggregate_id([job.id for job in aggregate])


class JobSource(Protocol):
    """What grouping needs to know of the jobs."""

    def statepoint(self, job_id: str) -> dict[str, Any]:
        """Return the state point as plain data."""

    def job(self, job_id: str) -> Any:
        """Return the signac job, for user functions."""


class aggregator:
    """Declare which jobs an operation works on together.

    Parameters
    ----------
    aggregator_function
        Takes the list of selected, sorted jobs and returns an iterable of iterables of jobs. Default: one aggregate
        of all jobs.
    sort_by
        A state point key, or a function of a job, to sort by before grouping.
    sort_ascending
        Sort order of ``sort_by``.
    select
        A predicate; jobs for which it is false belong to no aggregate.

    Two aggregators are equal only if each leaves every job on its own.

    Examples
    --------
    ``@FlowProject.operation(aggregator=aggregator.groupby("seed"))``
    """

    def __init__(
        self,
        aggregator_function: Callable[[list[Any]], Iterable[Iterable[Any]]] | None = None,
        sort_by: str | Callable[[Any], Any] | None = None,
        sort_ascending: bool = True,
        select: Callable[[Any], bool] | None = None,
    ) -> None:
        for name, value, allowed in (
            ("aggregator_function", aggregator_function, callable),
            ("sort_by", sort_by, lambda v: callable(v) or isinstance(v, str)),
            ("select", select, callable),
        ):
            if value is not None and not allowed(value):
                raise TypeError(f"aggregator: {name} can't be {value!r}.")
        self._aggregator_function = aggregator_function or _all_together
        self._sort_by = sort_by
        self._sort_ascending = bool(sort_ascending)
        self._select = select
        self._group: Callable[[JobSource, list[str]], Iterable[Iterable[str]]] = self._by_function
        self._parameters: tuple[Any, ...] = ("function", aggregator_function)
        self.is_single = False

    @classmethod
    def groupsof(
        cls,
        num: int = 1,
        sort_by: str | Callable[[Any], Any] | None = None,
        sort_ascending: bool = True,
        select: Callable[[Any], bool] | None = None,
    ) -> aggregator:
        """Chunks of ``num`` jobs; the last may be shorter."""
        try:
            size = int(num)
        except TypeError:
            raise TypeError(f"aggregator.groupsof: num must be an integer, not {num!r}.") from None
        if size != num or size <= 0:
            raise ValueError(f"aggregator.groupsof: num must be a positive integer, not {num!r}.")
        self = cls(sort_by=sort_by, sort_ascending=sort_ascending, select=select)
        self._group = lambda source, ids: (ids[i : i + size] for i in range(0, len(ids), size))
        self._parameters = ("groupsof", size)
        self.is_single = size == 1 and sort_by is None and select is None
        return self

    @classmethod
    def groupby(
        cls,
        key: str | Iterable[str] | Callable[[Any], Any],
        default: Any = None,
        sort_by: str | Callable[[Any], Any] | None = None,
        sort_ascending: bool = True,
        select: Callable[[Any], bool] | None = None,
    ) -> aggregator:
        """One aggregate for each value of a state point key, of several keys, or of a function of a job.

        A job without the key raises ``KeyError`` unless ``default`` (for several keys: one default each) is given.
        """
        self = cls(sort_by=sort_by, sort_ascending=sort_ascending, select=select)
        if isinstance(key, Iterable) and not isinstance(key, str) and not callable(key):
            key = tuple(key)
            default = tuple(default) if isinstance(default, Iterable) and not isinstance(default, str) else default
        self._parameters = ("groupby", key, default)
        value_of = _group_value(key, default)

        def group(source: JobSource, ids: list[str]) -> Iterable[Iterable[str]]:
            keyed = sorted(((value_of(source, i), i) for i in ids), key=lambda pair: pair[0])
            for _, members in itertools.groupby(keyed, key=lambda pair: pair[0]):
                yield [i for _, i in members]

        self._group = group
        return self

    @property
    def _is_default_aggregator(self) -> bool:
        return self.is_single

    def _create_AggregateStore(self, project: Any) -> AggregateStore:
        from pointillist.definition.stores import AggregateStore

        return AggregateStore(self, project)

    @property
    def recipe(self) -> tuple[Any, ...] | None:
        """All that decides the groups beside the ids and state points, as plain data.

        None when something else has a say: a function or a subclass of the user's, or a value that is not plain.
        """
        if type(self) is not aggregator:
            return None
        recipe = (*self._parameters, self._sort_by, self._sort_ascending, self._select)
        return recipe if _is_plain(recipe) else None

    def __call__(self, function: F) -> F:
        """Declare the aggregator of an operation; the same as ``operation(aggregator=...)``."""
        return mark(function, aggregator=self)

    def __eq__(self, other: object) -> bool:
        """Say whether both make the same aggregates of any jobs, as far as that can be known: each job on its own."""
        return self is other or (isinstance(other, aggregator) and self.is_single and other.is_single)

    def __hash__(self) -> int:
        return hash(aggregator) if self.is_single else id(self)

    def aggregates(self, source: JobSource, job_ids: Sequence[str]) -> list[Aggregate]:
        """Group jobs, in a deterministic order."""
        if self.is_single:
            return [Aggregate(i, (i,)) for i in job_ids]
        ids = list(job_ids)
        if self._select is not None:
            select = self._select
            ids = [i for i in ids if select(source.job(i))]
        if isinstance(self._sort_by, str):
            key = self._sort_by
            ids.sort(key=lambda i: _plain_value(source, i, key), reverse=not self._sort_ascending)
        elif self._sort_by is not None:
            function = self._sort_by
            ids.sort(key=lambda i: function(source.job(i)), reverse=not self._sort_ascending)
        groups = (tuple(group) for group in self._group(source, ids))
        return [aggregate_of(group) for group in groups if group]

    def _by_function(self, source: JobSource, ids: list[str]) -> Iterable[Iterable[str]]:
        if self._aggregator_function is _all_together:
            return [ids]
        groups = self._aggregator_function([source.job(i) for i in ids])
        return ([job.id for job in group] for group in groups)


def _all_together(jobs: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    yield tuple(jobs)


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if type(value) is tuple else type(value) in (str, int, float, bool, type(None))


_MISSING = object()


def _plain_value(source: JobSource, job_id: str, key: str, default: Any = _MISSING) -> Any:
    """Look a key up in the state point; dots descend into nested mappings."""
    value: Any = source.statepoint(job_id)
    if key in value:
        return value[key]
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            if default is _MISSING:
                raise KeyError(f"Job {job_id} has no state point key {key!r}.")
            return default
        value = value[part]
    return value


def _group_value(key: Any, default: Any) -> Callable[[JobSource, str], Any]:
    if isinstance(key, str):
        fallback = _MISSING if default is None else default
        return lambda source, job_id: _plain_value(source, job_id, key, fallback)
    if callable(key):
        return lambda source, job_id: key(source.job(job_id))
    if not isinstance(key, Iterable):
        raise TypeError(f"aggregator.groupby: key must be a state point key, several, or a function, not {key!r}.")
    keys = tuple(key)
    if default is None:
        defaults: tuple[Any, ...] = (_MISSING,) * len(keys)
    elif isinstance(default, Iterable) and not isinstance(default, str):
        defaults = tuple(default)
    else:
        raise TypeError("aggregator.groupby: with several keys, default must hold one value for each.")
    if len(defaults) != len(keys):
        raise ValueError(f"aggregator.groupby: {counted(len(keys), 'key')} but {counted(len(defaults), 'default')}.")
    return lambda source, job_id: tuple(_plain_value(source, job_id, k, d) for k, d in zip(keys, defaults, strict=True))


EACH_JOB = aggregator.groupsof(1)
"""The default: each job on its own."""
