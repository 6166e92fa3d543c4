"""Processes that work on tasks: the face they all have, and shell commands.

``fileno`` becomes readable when there may be news, ``poll`` says whether it has ended, ``signal`` reaches the process
with all its children. None knows what a task is; the journal and the claims belong to the loop that uses them.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal as signals
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pointillist.execution.running.plain_commands import as_in_a_shell, plain_words
from pointillist.state.journal import Usage


@dataclass(frozen=True)
class Ended:
    """How a process ended; ``exit_code`` is negative for a signal, as in :mod:`subprocess`."""

    exit_code: int
    error: str = ""
    usage: Usage | None = None
    began: float | None = None
    """When it really began, in seconds since 1970, where that may be later than it was asked to."""
    took_s: float | None = None
    """How long it really took, where that may be less than it was waited for."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """The new id of each job that a call gave another state point, by the id it had."""
    exception: BaseException | None = None
    """What a call in this process raised, or what kept it from being made."""

    @property
    def was_interrupted(self) -> bool:
        """Whether it was asked to stop, and did."""
        return self.exit_code in (
            -signals.SIGINT,
            -signals.SIGTERM,
            128 + signals.SIGINT,
            128 + signals.SIGTERM,
        )

    def in_words(self) -> str:
        """Say how it ended."""
        if self.error:
            return self.error
        code = self.exit_code if self.exit_code < 0 else 128 - self.exit_code if self.exit_code > 128 else 0
        if code < 0:
            with contextlib.suppress(ValueError):
                name = signals.Signals(-code).name
                return f"killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        return f"exit code {self.exit_code}"


class Process(Protocol):
    """Something that works on one or several tasks."""

    def fileno(self) -> int | None:
        """Return a descriptor that becomes readable when it may have ended; None: ask by polling."""

    def poll(self) -> Ended | None:
        """Return how it ended, or None while it runs."""

    def release(self) -> None:
        """Let go of its descriptor, when it has ended and nobody waits for it any more."""

    def signal(self, number: int) -> None:
        """Send a signal to it and its children."""


LONGEST_LINE = 100_000
"""Linux takes no single argument of more than 128 KiB; a longer command goes to the shell in a file."""


class ShellProcess:
    """A shell command in a session of its own, its output in a file.

    The time of trivial commands is mostly that of starting them: hence ``posix_spawn``, and no shell for a command that
    needs none.

    Parameters
    ----------
    command
        What ``/bin/sh`` is to do.
    output
        The file that standard output and standard error are appended to; opened anew, so that the file itself shows
        whether the command, or what it has left behind, still has it.
    script
        Where to write the command when it is too long for a command line.
    cwd
        Folder to run in.
    env
        Variables beside those of this process.
    keep_fd
        A descriptor the process and its children keep open.
    """

    def __init__(self, command: str, *, output: str, script: str, cwd: str, env: dict[str, str], keep_fd: int) -> None:
        self._pid = self._start(command, output, script, cwd, dict(os.environ) | env, keep_fd)
        self._pidfd = os.pidfd_open(self._pid) if hasattr(os, "pidfd_open") else None
        self._ended: Ended | None = None

    def _start(self, command: str, output: str, script: str, cwd: str, env: dict[str, str], keep_fd: int) -> int:
        if not os.path.samefile(cwd, "."):
            command = f"cd {shlex.quote(cwd)} || exit\n{command}"
        elif plain := plain_words(command, env):
            with contextlib.suppress(OSError):  # whatever is wrong with the program, the shell has a word for it
                return _spawn(*plain, output, as_in_a_shell(env), keep_fd)
        words = ["/bin/sh", "-c", command]
        if len(command) > LONGEST_LINE:
            with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(command)
            words = ["/bin/sh", script]
        return _spawn(words[0], words, output, env, keep_fd)

    def fileno(self) -> int | None:
        return self._pidfd

    def poll(self) -> Ended | None:
        if self._ended is None:
            pid, status, used = os.wait4(self._pid, os.WNOHANG)
            if pid == 0:
                return None
            self._ended = Ended(os.waitstatus_to_exitcode(status), usage=usage_of(used))
        return self._ended

    def release(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, number)


def _spawn(program: str, words: list[str], output: str, env: dict[str, str], keep_fd: int) -> int:
    return os.posix_spawn(
        program,
        words,
        env,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, keep_fd, keep_fd),
        ],
        setsid=True,
        # What Python ignores, and what may have been ignored when this process was started.
        setsigdef=(signals.SIGPIPE, signals.SIGXFSZ, signals.SIGINT),
    )


class NoProcess:
    """Stands for a process that has not been started, could not be, or was none."""

    def __init__(self, ended: Ended | None = None) -> None:
        self._ended = ended

    def fileno(self) -> int | None:
        return None

    def poll(self) -> Ended | None:
        return self._ended

    def release(self) -> None:
        return

    def signal(self, number: int) -> None:
        return


def exit_code_of(error: SystemExit) -> int:
    """Return the exit code of a process that ends by ``sys.exit``."""
    return error.code if isinstance(error.code, int) else 0 if error.code is None else 1


def usage_of(*used: resource.struct_rusage) -> Usage:
    """Return the processor time of several accounts in all, and the largest memory any of their processes had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(sum(u.ru_utime + u.ru_stime for u in used), max(u.ru_maxrss for u in used) * unit)
