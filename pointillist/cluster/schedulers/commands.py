"""The one place where a scheduler's command is run.

Owns the process: environment, time limit, decoding. Knows no scheduler: what an answer means is decided by
the adapter that asked. Its only judgement is between "there is such a command" and "there is not".
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pointillist.cluster.errors import SchedulerNotPresent

QUERY_TIMEOUT_S = 60.0
SUBMIT_TIMEOUT_S = 120.0
_LAST_WORDS_S = 1.0
"""How long to read on what a command has said that was stopped."""


@dataclass(frozen=True)
class Answer:
    """Hold what a command left behind.

    Attributes
    ----------
    returncode
        Exit status; None when the command was stopped because its time was up.
    stdout, stderr
        Text; bytes that are no UTF-8 become backslash escapes, so no answer is lost to its encoding.
    """

    returncode: int | None
    stdout: str
    stderr: str

    @property
    def timed_out(self) -> bool:
        """Whether the command was stopped before it ended."""
        return self.returncode is None


class Runner(Protocol):
    """Run a command and return its answer; tests put a fake in its place."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        timeout_s: float,
        stdin_path: str | None = None,
        cwd: str | None = None,
        environment: Mapping[str, str | None] | None = None,
        keep_fds: Sequence[int] = (),
    ) -> Answer:
        """Run `command`; see `run_command`."""


def run_command(
    command: Sequence[str],
    *,
    timeout_s: float,
    stdin_path: str | None = None,
    cwd: str | None = None,
    environment: Mapping[str, str | None] | None = None,
    keep_fds: Sequence[int] = (),
) -> Answer:
    """Run one command to its end or its time limit.

    Parameters
    ----------
    command
        Program and arguments; no shell is involved.
    timeout_s
        Seconds after which the command and its children are killed.
    stdin_path
        File the command reads as its standard input; nothing when None.
    cwd
        Working directory; the current one when None.
    environment
        Changes to the environment: a value sets, None removes. Names ending in ``*`` remove all with that
        prefix.
    keep_fds
        Descriptors that the command holds for as long as it lives, also when this process is gone.

    Raises
    ------
    SchedulerNotPresent
        When there is no such program.
    """
    import signal
    import subprocess

    with open(stdin_path or os.devnull, "rb") as stdin:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=changed_environment(os.environ, environment or {}),
                # A group of its own: a wrapper script that hangs takes its children with it when it is
                # killed, and Ctrl-C in the terminal does not tear a submission in two.
                start_new_session=True,
                pass_fds=tuple(keep_fds),
            )
        except (FileNotFoundError, PermissionError) as error:
            if cwd is not None and not os.path.isdir(cwd):
                raise
            raise SchedulerNotPresent(
                f"There is no command '{command[0]}' on this machine.",
                command=tuple(command),
                hint="Run this on a login node of the cluster, or load the scheduler's module.",
            ) from error
    with process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            try:
                stdout, stderr = process.communicate(timeout=_LAST_WORDS_S)
            except subprocess.TimeoutExpired as held:  # what has left the group keeps the pipes open
                stdout, stderr = held.stdout or b"", held.stderr or b""
            return Answer(None, _text(stdout), _text(stderr))
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return Answer(process.returncode, _text(stdout), _text(stderr))


def changed_environment(base: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """Apply `changes` to a copy of `base`; see `run_command` for their meaning."""
    prefixes = tuple(name[:-1] for name in changes if name.endswith("*"))
    kept = {name: value for name, value in base.items() if not (prefixes and name.startswith(prefixes))}
    for name, value in changes.items():
        if value is None:
            kept.pop(name, None)
        else:
            kept[name] = value
    return kept


def _text(data: bytes) -> str:
    return data.decode("utf-8", errors="backslashreplace")
