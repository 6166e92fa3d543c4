"""Errors of the cluster room.

::

    ClusterError (SubmitError)       something between here and the cluster went wrong; carries a hint
    ├── EnvironmentNotFound          no environment has this name
    ├── TemplateError                a script's template can't be found, read or filled in
    ├── RequestError                 this scheduler has no words for what was asked; found before asking it
    ├── NoPartitionFits              no partition of the cluster can hold the request
    └── SchedulerError               the scheduler's commands did not do what they were asked
        ├── SchedulerNotPresent      its commands are not on this machine
        ├── SchedulerUnavailable     no answer, or half of one: nothing is known, so touch nothing
        └── SubmissionRejected       it understood and said no; asking again changes nothing

Owns names and messages only; decides nothing.
"""

from __future__ import annotations

from pointillist import errors
from pointillist.errors import EXIT_USAGE, SubmitError


class ClusterError(SubmitError):
    """Report what went wrong and what to do next.

    Parameters
    ----------
    message
        What happened, to which object.
    hint
        What to do next; empty when there is nothing better than the message.
    """


class EnvironmentNotFound(ClusterError, LookupError):
    """Report that no environment has the name that was given."""

    exit_code = EXIT_USAGE


class TemplateError(ClusterError, errors.TemplateError):
    """Report a template of scripts that can't be found, read or filled in, or that refuses by ``{% raise %}``."""


class RequestError(ClusterError):
    """Report a request that cannot be put into this scheduler's words."""

    exit_code = EXIT_USAGE


class NoPartitionFits(ClusterError):
    """Report that no partition can hold a request, with a reason for each.

    Attributes
    ----------
    reasons
        Partition name to the sentence that says why not.
    """

    exit_code = EXIT_USAGE

    def __init__(self, message: str, *, reasons: dict[str, str], hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reasons = reasons


class SchedulerError(ClusterError):
    """Report a scheduler command that failed.

    Attributes
    ----------
    command
        The command as it was run; empty when none was.
    words
        What the scheduler itself said.
    """

    def __init__(self, message: str, *, command: tuple[str, ...] = (), words: str = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.command = command
        self.words = words


class SchedulerNotPresent(SchedulerError):
    """Report that the scheduler's commands are not installed here."""


class SchedulerUnavailable(SchedulerError):
    """Report that the scheduler gave no usable answer. The state of every cluster job is unknown.

    Attributes
    ----------
    may_have_acted
        True when the command may have taken effect although no answer came: a submission may have been
        accepted. Look for it by name before submitting again.
    timed_out
        True when it did not answer in time.
    """

    def __init__(
        self,
        message: str,
        *,
        command: tuple[str, ...] = (),
        words: str = "",
        hint: str = "",
        may_have_acted: bool = False,
        timed_out: bool = False,
    ) -> None:
        super().__init__(message, command=command, words=words, hint=hint)
        self.may_have_acted = may_have_acted
        self.timed_out = timed_out


class SubmissionRejected(SchedulerError):
    """Report that the scheduler refused a script. The request is wrong; it will be wrong again."""
