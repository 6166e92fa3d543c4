"""Jobs as conditions and labels see them: signac jobs that are opened only when somebody needs one.

A condition asks a job for little: a file, a key of its document or state point. That is answered here, as signac
answers it, from the files as they are at that moment; whatever else is asked of such a job, signac's own job does. So
a hundred thousand jobs can be asked without opening one, and without importing signac.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

from pointillist.definition.conditions import DOCUMENT

_PLAIN = (str, int, float, bool, type(None))
"""Values that signac hands out as they are; a list or a mapping it wraps."""

METHODS = frozenset(
    """
    backend_is_buffered buffer_backend clear disable_multithreading enable_multithreading filename get
    get_buffer_capacity get_current_buffer_size is_base_type items keys load pop popitem registry reset save
    set_buffer_capacity setdefault update values
    """.split()  # noqa: SIM905
)
"""Names that mean something to signac's mappings, so that no key of a document can be reached by them."""


class SeenJob:
    """Stands for a signac job.

    Parameters
    ----------
    job_id, path
        The job's id and folder.
    statepoint
        Reads the job's state point.
    open_job
        Opens the signac job.
    """

    __slots__ = ("_open", "_read_statepoint", "id", "path")

    def __init__(
        self, job_id: str, path: str, statepoint: Callable[[str], dict[str, Any]], open_job: Callable[[str], Any]
    ) -> None:
        set_here = object.__setattr__
        set_here(self, "id", job_id)
        set_here(self, "path", path)
        set_here(self, "_read_statepoint", statepoint)
        set_here(self, "_open", open_job)

    def _job(self) -> Any:
        return self._open(self.id)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._job())

    def fn(self, filename: str) -> str:
        """Return the path of a file in the job's folder."""
        return os.path.join(self.path, filename)

    def isfile(self, filename: str) -> bool:
        """Say whether there is such a file in the job's folder."""
        return os.path.isfile(os.path.join(self.path, filename))

    @property
    def document(self) -> Any:
        """The job document."""
        return SeenMapping(self._document, lambda: self._job().document)

    @property
    def statepoint(self) -> Any:
        """The state point."""
        return SeenMapping(lambda: self._read_statepoint(self.id), lambda: self._job().statepoint)

    doc = document
    sp = statepoint

    def _document(self) -> dict[str, Any] | None:
        try:
            with open(os.path.join(self.path, DOCUMENT), "rb") as file:
                content = json.loads(file.read())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError):
            return None
        return content if isinstance(content, dict) else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._job(), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._job(), name, value)

    def __eq__(self, other: object) -> bool:
        if type(other) is SeenJob:
            return bool(self.id == other.id and os.path.realpath(self.path) == os.path.realpath(other.path))
        return bool(self._job() == other)

    def __hash__(self) -> int:
        return hash(self.id)

    def __str__(self) -> str:
        return str(self.id)

    def __repr__(self) -> str:
        return repr(self._job())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._job().__reduce_ex__(protocol)

    def __enter__(self) -> Any:
        return self._job().__enter__()

    def __exit__(self, *error: object) -> Any:
        return self._job().__exit__(*error)


class SeenMapping:
    """Stands for a job document or a state point: tells plain values itself, and leaves all else to signac's.

    Parameters
    ----------
    read
        Reads the present content; None where signac has to say what is wrong with it.
    open_mapping
        Returns signac's own.
    """

    __slots__ = ("_open", "_read")

    def __init__(self, read: Callable[[], dict[str, Any] | None], open_mapping: Callable[[], Any]) -> None:
        object.__setattr__(self, "_read", read)
        object.__setattr__(self, "_open", open_mapping)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._open())

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of a key, or a default."""
        content = self._read()
        if content is None or type(key) is not str:
            return self._open().get(key, default)
        value = content.get(key, _MISSING)
        if value is _MISSING:
            return default
        return value if type(value) in _PLAIN else self._open().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        content = self._read()
        value = content.get(key, _MISSING) if content is not None and type(key) is str else _MISSING
        return value if type(value) in _PLAIN else self._open()[key]

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name not in METHODS:
            content = self._read()
            value = _MISSING if content is None else content.get(name, _MISSING)
            if type(value) in _PLAIN:
                return value
        return getattr(self._open(), name)

    def __contains__(self, key: Any) -> bool:
        content = self._read()
        return key in self._open() if content is None or type(key) is not str else key in content

    def __len__(self) -> int:
        content = self._read()
        return len(self._open()) if content is None else len(content)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._open())

    def __call__(self) -> Any:
        return self._open()()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._open()[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._open()[key]

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._open(), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._open(), name)

    def __eq__(self, other: object) -> bool:
        return bool(self._open() == other)

    def __hash__(self) -> int:
        return hash(self._open())

    def __str__(self) -> str:
        return str(self._open())

    def __repr__(self) -> str:
        return repr(self._open())

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self._open().__reduce_ex__(protocol)


_MISSING = object()
