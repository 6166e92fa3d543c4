"""Errors of the science package.

Every error a user can cause is a :class:`PlmnistError`: a message that says what happened to which object, and a hint
that says what to do next. Anything else that is raised is a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ConfigurationError",
    "DataError",
    "DownloadError",
    "OutdatedError",
    "PlmnistError",
    "ResultError",
    "TrainingError",
    "near_matches",
]


class PlmnistError(Exception):
    """Report a failure that has a cause outside the program.

    Parameters
    ----------
    message
        What happened, and to which object.
    hint
        What to do next; empty when there is nothing to add.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    @property
    def one_line(self) -> str:
        """The message and the hint as one line of text."""
        text = f"{self} ({self.hint})" if self.hint else str(self)
        return " ".join(text.split())


class ConfigurationError(PlmnistError):
    """A configuration has a missing, misspelt or impossible entry."""


class DataError(PlmnistError):
    """A data set is missing, truncated or damaged."""


class DownloadError(DataError):
    """No mirror delivered a file."""


class TrainingError(PlmnistError):
    """A training did not produce a usable network."""


class ResultError(PlmnistError):
    """A result folder lacks a file or holds one that does not fit."""


class OutdatedError(ResultError):
    """A file of results was made by an earlier version, whose numbers may not be those of today."""


def near_matches(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names entries of `known` close to `word`, or all of them if none is close."""
    names = list(known)
    close = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if close:
        return f"Did you mean {' or '.join(repr(name) for name in close)}?"
    return f"Known: {', '.join(names)}."
