"""Marks: what the older decorators say of a function before or after it becomes an operation.

``@cmd``, ``@with_job``, ``@directives(...)``, ``@operation.with_directives(...)`` and an aggregator used as a decorator
belong to the function, not to a project. They leave a note on it, which is read when the operations are put together,
so they may stand above or below ``@FlowProject.operation``.
"""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pointillist.errors import DefinitionError

F = TypeVar("F", bound=Callable[..., Any])
_ATTRIBUTE = "_pointillist_marks"
_PLAIN = "_pointillist_plain"


def marks_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what was noted on a function: ``cmd``, ``with_job``, ``directives``, ``aggregator``."""
    return dict(getattr(plain(function), _ATTRIBUTE, {}))


def plain(function: Any) -> Any:
    """Return the function as it was declared, also for what :func:`in_folder` has made of it."""
    return getattr(function, _PLAIN, function)


def in_folder(function: Callable[..., Any], *, cmd: bool) -> Callable[..., Any]:
    """Return the function as one that works inside the folder of its job, or whose command does."""

    @functools.wraps(function)
    def work(job: Any) -> Any:
        if cmd:
            return f"cd {shlex.quote(job.path)} && {function(job)}"
        with job:
            return function(job)

    setattr(work, _PLAIN, function)
    return work


def mark(function: F, **notes: Any) -> F:
    """Note something on a function, beside what is noted already."""
    known = marks_of(function)
    if "directives" in notes:
        notes["directives"] = {**known.get("directives", {}), **notes["directives"]}
    try:
        setattr(plain(function), _ATTRIBUTE, known | notes)
    except AttributeError:
        raise DefinitionError(
            f"{function!r} can't be decorated.", hint="Pass the options to @FlowProject.operation(...) instead."
        ) from None
    return function


def cmd(function: F) -> F:
    """Declare that a function returns a shell command; the same as ``operation(cmd=True)``."""
    return mark(function, cmd=True)


def with_job(function: F) -> F:
    """Declare that a function works inside the job's folder; the same as ``operation(with_job=True)``."""
    return mark(function, with_job=True)


def with_directives(values: Mapping[str, Any]) -> Callable[[F], F]:
    """Declare what a function asks of the machine; the same as ``operation(directives=...)``."""
    return lambda function: mark(function, directives=dict(values))
