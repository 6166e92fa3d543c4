"""Small things that test suites and scripts around signac-flow use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, MutableMapping
from typing import Any

from pointillist.execution.tracking import redirect_log

__all__ = ["redirect_log"]


@contextlib.contextmanager
def _add_path_to_environment_pythonpath(path: str | os.PathLike[str]) -> Iterator[None]:
    """Put a folder first into ``PYTHONPATH`` for a while."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([os.path.realpath(path), *([before] if before else [])])
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _add_cwd_to_environment_pythonpath() -> contextlib.AbstractContextManager[None]:
    """Put the current folder first into ``PYTHONPATH`` for a while."""
    return _add_path_to_environment_pythonpath(os.getcwd())


def _switch_to_directory(root: str | os.PathLike[str] | None = None) -> contextlib.AbstractContextManager[None]:
    """Make a folder the current one for a while; None stays where it is."""
    return contextlib.nullcontext() if root is None else contextlib.chdir(root)


class _bidict(MutableMapping[Any, Any]):
    """A mapping that can be read from its values, too: ``inverse`` lists the keys of each."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._values = dict(*args, **kwargs)

    @property
    def inverse(self) -> dict[Any, list[Any]]:
        """Value -> its keys, in the order in which they were set."""
        keys: dict[Any, list[Any]] = {}
        for key, value in self._values.items():
            keys.setdefault(value, []).append(key)
        return keys

    def __getitem__(self, key: Any) -> Any:
        return self._values[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self._values[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
