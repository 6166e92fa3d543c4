"""Every error the engine raises on purpose.

::

    PointillistError
    ├── DefinitionError (FlowProjectDefinitionError)   the project file declares something impossible
    │   └── DirectivesError
    ├── SelectionError                                 nothing matches what was asked for
    │   ├── OverlapError                               two selected groups share an operation
    │   └── PatternError                               a pattern of names is no regular expression
    ├── ProjectNotFoundError                           there is no signac project here
    ├── BrokenJobError                                 one job folder can't be read
    ├── UserConditionError                             a condition or label of the user raised
    ├── UserOperationError                             an operation of the user failed
    ├── TaskRunningError                               another process works on this very task
    ├── ConfigKeyError                                 a key of the signac configuration is missing
    ├── SubmitError                                    a scheduler did not take a submission
    │   └── TemplateError                              the template of a script can't be used
    └── NoSchedulerError                               this environment has no scheduler

Names that signac-flow also has keep their built-in parents, so that ``except`` clauses go on working.
"""

from __future__ import annotations

from collections.abc import Iterable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOTHING_SELECTED = 3
EXIT_SCHEDULER = 4
EXIT_AGAIN = 75
"""Stopped because the time of its cluster job is nearly up; to go on later."""
EXIT_INTERRUPTED = 130


class PointillistError(Exception):
    """Base of all errors that the engine raises on purpose.

    Parameters
    ----------
    message
        What happened, and to which object.
    hint
        What to do next; empty when the message says it all.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint
        if hint:
            self.add_note(hint)  # so that a traceback says it, too


class DefinitionError(PointillistError, ValueError):
    """The project file declares something impossible."""


FlowProjectDefinitionError = DefinitionError


class DirectivesError(DefinitionError):
    """A directive has an impossible value."""


class SelectionError(PointillistError, LookupError):
    """Nothing matches what was asked for."""

    exit_code = EXIT_NOTHING_SELECTED


class OverlapError(SelectionError, ValueError):
    """Two groups that share an operation are selected at once."""

    exit_code = EXIT_USAGE


class PatternError(SelectionError, ValueError):
    """A pattern of names is no regular expression."""

    exit_code = EXIT_USAGE


class ProjectNotFoundError(PointillistError, LookupError):
    """There is no signac project at this path."""


class BrokenJobError(PointillistError, RuntimeError):
    """One job folder can't be read; ``job_id`` names it."""

    def __init__(self, job_id: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.job_id = job_id


class UserConditionError(PointillistError, RuntimeError):
    """A condition or label function of the user raised; the cause is chained."""

    exit_code = EXIT_FAILED


class UserOperationError(PointillistError, RuntimeError):
    """An operation of the user failed."""

    exit_code = EXIT_FAILED


class TaskRunningError(PointillistError, RuntimeError):
    """Another process works on this task at this moment."""

    exit_code = EXIT_FAILED


class ConfigKeyError(PointillistError, KeyError):
    """A key of the signac configuration is missing."""

    def __str__(self) -> str:
        return str(self.args[0])


class SubmitError(PointillistError, RuntimeError):
    """A scheduler did not take a submission."""

    exit_code = EXIT_SCHEDULER


class TemplateError(SubmitError):
    """A template of scripts can't be used, or refuses by ``{% raise %}``."""

    exit_code = EXIT_USAGE


class NoSchedulerError(PointillistError, AttributeError):
    """This environment has no scheduler."""

    exit_code = EXIT_SCHEDULER


def near_matches(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to ``name``, or list them when none is and they are few."""
    names = sorted(set(known))
    import difflib

    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(close) + "?"
    if names and len(names) <= 20:
        return "There is " + ", ".join(names) + "."
    return ""
