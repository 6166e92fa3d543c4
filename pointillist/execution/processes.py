"""Processes that work on tasks: shell commands, forked workers for Python operations, and calls in this process.

All have the same face: ``fileno`` becomes readable when there may be news, ``poll`` says whether it has ended,
``signal`` reaches the process with all its children. None knows what a task is; the journal and the claims belong to
the loop that uses them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import shlex
import signal as signals
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pointillist.state.journal import Usage


@dataclass(frozen=True)
class Ended:
    """How a process ended; ``exit_code`` is negative for a signal, as in :mod:`subprocess`."""

    exit_code: int
    error: str = ""
    usage: Usage | None = None

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

    def signal(self, number: int) -> None:
        """Send a signal to it and its children."""


LONGEST_LINE = 100_000
"""Linux takes no single argument of more than 128 KiB; a longer command goes to the shell in a file."""


LONGEST_MESSAGE = 2000
"""So much of what an exception says goes into the journal; the log has all of it."""


class ShellProcess:
    """A shell command in a session of its own, its output in a file.

    Started by ``posix_spawn``: the time of trivial commands is mostly that of starting them.

    Parameters
    ----------
    command
        What ``/bin/sh`` is to do.
    output
        The open file for standard output and standard error.
    script
        Where to write the command when it is too long for a command line.
    cwd
        Folder to run in.
    env
        Variables beside those of this process.
    keep_fd
        A descriptor the process and its children keep open.
    """

    def __init__(self, command: str, *, output: int, script: str, cwd: str, env: dict[str, str], keep_fd: int) -> None:
        if not os.path.samefile(cwd, "."):
            command = f"cd {shlex.quote(cwd)} || exit\n{command}"
        words = ["/bin/sh", "-c", command]
        if len(command) > LONGEST_LINE:
            with open(script, "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(command)
            words = ["/bin/sh", script]
        self._pid = os.posix_spawn(
            words[0],
            words,
            os.environ | env if env else os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
                (os.POSIX_SPAWN_DUP2, keep_fd, keep_fd),
            ],
            setsid=True,
            # What Python ignores, and what may have been ignored when this process was started.
            setsigdef=(signals.SIGPIPE, signals.SIGXFSZ, signals.SIGINT),
        )
        self._pidfd = os.pidfd_open(self._pid) if hasattr(os, "pidfd_open") else None
        self._ended: Ended | None = None

    def fileno(self) -> int | None:
        return self._pidfd

    def poll(self) -> Ended | None:
        if self._ended is None:
            pid, status, used = os.wait4(self._pid, os.WNOHANG)
            if pid == 0:
                return None
            self._ended = Ended(os.waitstatus_to_exitcode(status), usage=_usage(used))
            if self._pidfd is not None:
                os.close(self._pidfd)
                self._pidfd = None
        return self._ended

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, number)


class NoProcess:
    """Stands for a process that has not been started, could not be, or was none."""

    def __init__(self, ended: Ended | None = None) -> None:
        self._ended = ended

    def fileno(self) -> int | None:
        return None

    def poll(self) -> Ended | None:
        return self._ended

    def signal(self, number: int) -> None:
        return


class InlineCall(NoProcess):
    """A Python call made at once, in this process; its output goes where it always goes."""

    def __init__(self, call: Callable[[], None], *, log: str) -> None:
        super().__init__(_call(call, log))


class Worker:
    """A forked copy of this process that makes Python calls one after the other.

    The copy has everything this process has imported, so a call costs a message, not a start. Must be made while this
    process has no other threads.

    Parameters
    ----------
    function
        Called in the worker with what :meth:`call` is given.
    close_fds
        Descriptors of this process that the worker must not hold.
    cwd
        Folder to work in.
    """

    def __init__(self, function: Callable[..., None], *, close_fds: Sequence[int], cwd: str) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            for handle in close_fds:
                with contextlib.suppress(OSError):
                    os.close(handle)
            _serve(function, theirs, cwd)
        theirs.close()
        self._socket = ours
        self._ended: Ended | None = None

    def fileno(self) -> int | None:
        return self._socket.fileno() if self._socket.fileno() >= 0 else None

    @property
    def is_alive(self) -> bool:
        """Whether it can take another call."""
        return self._socket.fileno() >= 0

    def call(self, log: str, *arguments: Any) -> None:
        """Begin a call; ``arguments`` must be plain data."""
        self._ended = None
        try:
            self._socket.sendall(json.dumps([log, arguments]).encode() + b"\n")
        except OSError:
            self._ended = self._reap()

    def poll(self) -> Ended | None:
        if self._ended is None:
            self._ended = self._receive()
        return self._ended

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, number)

    def close(self) -> None:
        """Let the worker go; it ends when it has nothing to do."""
        if self.is_alive:
            self._reap()

    def _receive(self) -> Ended | None:
        self._socket.setblocking(False)
        try:
            answer = self._socket.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            answer = b""
        finally:
            self._socket.setblocking(True)
        if not answer:
            return self._reap()
        code, error, *usage = json.loads(answer)
        return Ended(code, error, Usage(*usage))

    def _reap(self) -> Ended:
        self._socket.close()
        _, status, used = os.wait4(self._pid, 0)
        return Ended(os.waitstatus_to_exitcode(status), usage=_usage(used))


def _usage(*used: resource.struct_rusage) -> Usage:
    """Return the processor time of several accounts in all, and the largest memory any of their processes had."""
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(sum(u.ru_utime + u.ru_stime for u in used), max(u.ru_maxrss for u in used) * unit)


def _usage_so_far() -> Usage:
    """Return what this process and its children have used since it began."""
    return _usage(resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))


def _serve(function: Callable[..., None], channel: socket.socket, cwd: str) -> None:
    """Make the calls that arrive, until the other side closes. Never returns, whatever the user's code does."""
    pid = os.getpid()
    try:
        os.setsid()
        signals.set_wakeup_fd(-1)
        signals.signal(signals.SIGINT, signals.SIG_IGN)
        signals.signal(signals.SIGTERM, signals.SIG_DFL)
        signals.signal(signals.SIGUSR1, signals.SIG_DFL)
        signals.signal(signals.SIGHUP, signals.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        with channel.makefile("rb") as requests:
            for line in requests:
                log, arguments = json.loads(line)
                os.chdir(cwd)
                _print_to(log)
                before = _usage_so_far().cpu_s
                ended = _call(lambda arguments=arguments: function(*arguments), log, in_worker=True)  # type: ignore[misc]
                if os.getpid() != pid:
                    break  # a copy that the call has forked has come back from it, too
                used = _usage_so_far()
                answer = [ended.exit_code, ended.error, used.cpu_s - before, used.peak_memory_bytes]
                channel.sendall(json.dumps(answer).encode())
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(70)


def _print_to(log: str) -> None:
    """Send to a log what this process prints from now on, also when its streams were closed or taken away."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    if handle <= 2:
        handle = fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 3)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)
    # Made anew each time: the last call may have done anything to them.
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115 - lives until the next call
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115


def _call(call: Callable[[], None], log: str, *, in_worker: bool = False) -> Ended:
    """Make a call and say how it ended; a traceback goes to the log."""
    try:
        previous = signals.getsignal(signals.SIGINT)
        if in_worker:
            signals.signal(signals.SIGINT, signals.default_int_handler)
        try:
            call()
        finally:
            if in_worker:
                signals.signal(signals.SIGINT, previous)
                _flush()
    except KeyboardInterrupt:
        return Ended(-signals.SIGINT)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        return Ended(code, "" if code == 0 else f"SystemExit: {error.code}")
    except BaseException as error:
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8", errors="replace") as file:
            file.write(_user_traceback(error))
        return Ended(1, _shortened(f"{type(error).__name__}: {error}"))
    return Ended(0)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()


def _shortened(message: str) -> str:
    """Leave the middle out of a message that nobody would read."""
    return (
        message
        if len(message) <= LONGEST_MESSAGE
        else f"{message[: LONGEST_MESSAGE // 2]} ... {message[-LONGEST_MESSAGE // 2 :]}"
    )


def _user_traceback(error: BaseException) -> str:
    """Format a traceback from the user's first frame on; frames of the engine are of no use to the user."""
    frame = error.__traceback__
    here = os.path.dirname(os.path.abspath(__file__))
    while frame is not None and os.path.abspath(frame.tb_frame.f_code.co_filename).startswith(here):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))
