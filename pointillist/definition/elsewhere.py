"""What a study declares about being made again, and about being taken away: nothing is needed, everything can be said.

The engine knows files and operations. What a difference between two files means, and what the things of a study are
called outside of it, the study says here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


Comparator = Callable[["Path", "Path"], tuple[bool | None, str]]
"""Compares an original with what was made again, given both paths: whether the difference is one that may be (None:
there is no use in comparing), and in words how large it is and may be."""


@dataclass(frozen=True)
class Reproduction:
    """How jobs are made again and compared; see :meth:`pointillist.FlowProject.reproducible`."""

    inputs: tuple[str, ...] = ()
    share: tuple[str, ...] = ()
    made: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    compare: Mapping[str, Comparator] = field(default_factory=dict)
    fingerprint: Callable[[Path, str], str | None] | None = None
    verify: Callable[[Path], Iterable[str]] | None = None
    code: Callable[[Path, str], str | None] | None = None
    outdated: Callable[[Path, str], str | None] | None = None

    def comparator(self, name: str) -> Comparator | None:
        """Return what compares files of this name, if anything does."""
        return next((compare for pattern, compare in self.compare.items() if fnmatchcase(name, pattern)), None)


@dataclass(frozen=True)
class Archived:
    """What a study adds to its archive; see :meth:`pointillist.FlowProject.archived`."""

    about: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    leave_out: tuple[str, ...] = ()
    files: Callable[[Path], Mapping[str, bytes]] | None = None
    entities: Callable[[Path], Iterable[Mapping[str, Any]]] | None = None


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether a path, relative and with slashes, fits one of several patterns; ``*`` spans folders."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
