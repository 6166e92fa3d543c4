"""Forked workers for Python operations, and calls in this process.

A worker has everything this process has imported, so a call costs a message, not a start. It may be given several calls
ahead, so that it need not wait for us in between; a call that it has not begun can be taken back.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import itertools
import json
import os
import resource
import signal as signals
import socket
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pointillist import errors
from pointillist.execution.running.processes import Ended, NoProcess, exit_code_of, usage_of
from pointillist.state.journal import Usage

LONGEST_MESSAGE = 2000
"""So much of what an exception says goes into the journal; the log has all of it."""


class InlineCall(NoProcess):
    """A Python call made at once, in this process; its output goes where it always goes."""

    def __init__(self, call: Callable[[dict[str, str]], None], *, log: str) -> None:
        super().__init__(_call(call, log))


class Worker:
    """A forked copy of this process that makes Python calls one after the other.

    Must be made while this process has no other threads.

    A call that is made ahead has a number, and a token of that number lies in a pipe that both sides can read: who
    takes it out has the call, so that it is either begun or taken back, never both.

    Parameters
    ----------
    function
        Called in the worker with what :meth:`call` is given, and with a mapping for the new ids of jobs.
    close_fds
        Descriptors of this process that the worker must not hold.
    cwd
        Folder to work in.
    """

    def __init__(self, function: Callable[..., None], *, close_fds: Sequence[int], cwd: str) -> None:
        ours, theirs = socket.socketpair()
        self._tokens, self._tokens_end = os.pipe()
        os.set_blocking(self._tokens, False)
        sys.stdout.flush()
        sys.stderr.flush()
        self._pid = os.fork()
        if self._pid == 0:
            ours.close()
            for handle in close_fds:
                with contextlib.suppress(OSError):
                    os.close(handle)
            _serve(function, theirs, self._tokens, cwd)
        theirs.close()
        ours.setblocking(False)
        self._socket = ours
        self._numbers = itertools.count(1)
        self._open: deque[tuple[int, list[Any]]] = deque()
        """The calls whose end was not told yet, the first of them the one at work."""
        self._taken_back = 0
        self._answers: deque[bytes] = deque()
        self._partial = b""
        self._died: Ended | None = None

    def fileno(self) -> int | None:
        return self._socket.fileno() if self._socket.fileno() >= 0 else None

    @property
    def is_alive(self) -> bool:
        """Whether it can take another call."""
        return self._died is None

    def call(self, log: str, *arguments: Any) -> None:
        """Ask for a call, to be made when those before it have ended; ``arguments`` must be plain data."""
        self.call_later([(log, *arguments)])

    def call_later(self, calls: Iterable[tuple[Any, ...]]) -> None:
        """Ask for several calls in one message; each begins with its log."""
        new: list[tuple[int, list[Any]]] = []
        for log, *arguments in calls:
            number = next(self._numbers) if self._open else _CERTAIN
            new.append((number, [log, arguments]))
            self._open.append(new[-1])
        self._send(new)

    def take_back(self) -> int:
        """Take back the calls behind the one at work, as far as they have not begun; return how many these are."""
        if self.is_alive and self._drain():
            self._send([(_CERTAIN, self._open[0][1])])
        count, self._taken_back = self._taken_back, 0
        for _ in range(count):
            self._open.pop()
        return count

    def _drain(self) -> bool:
        """Take out all tokens; say whether one was for the call whose turn it is, which had only not begun yet.

        All at once: a worker that took one from among them would do that call before one whose turn it is.
        """
        numbers = _tokens_of(self._tokens, _PIPE_LENGTH)
        is_due = bool(self._open and numbers) and numbers[0] == self._open[0][0]
        self._taken_back += len(numbers) - is_due
        return is_due

    def _send(self, calls: Sequence[tuple[int, list[Any]]]) -> None:
        numbers = [number for number, _ in calls if number != _CERTAIN]
        if not self.is_alive:
            self._taken_back += len(numbers)
            return
        try:
            if numbers:  # so few bytes go into a pipe whole or not at all
                os.write(self._tokens_end, b"".join(n.to_bytes(_TOKEN_LENGTH, "big") for n in numbers))
            self._socket.setblocking(True)
            self._socket.sendall(b"".join(json.dumps([number, *call]).encode() + b"\n" for number, call in calls))
            self._socket.setblocking(False)
        except OSError:
            while self._died is None:  # what it has answered before it died still counts
                self._receive()

    def poll(self) -> Ended | None:
        """Return how the first call ended of which that was not said yet; None while it is being made."""
        if not self._answers and self._died is None:
            self._receive()
        if self._answers:
            self._open.popleft()
            code, error, cpu_s, memory, began, took_s, moved = json.loads(self._answers.popleft())
            return Ended(code, error, Usage(cpu_s, memory), began, took_s, moved)
        return self._died

    def release(self) -> None:
        if not self.is_alive:
            self._socket.close()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._pid, number)

    def close(self) -> None:
        """Let the worker go; it ends when it has nothing to do."""
        self._socket.close()
        if self._died is None:
            self._died = self._reap()

    def _receive(self) -> None:
        try:
            text = self._socket.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            text = b""
        if not text:
            self._drain()
            self._died = self._reap()
            return
        *lines, self._partial = (self._partial + text).split(b"\n")
        self._answers.extend(lines)

    def _reap(self) -> Ended:
        os.close(self._tokens)
        os.close(self._tokens_end)
        _, status, used = os.wait4(self._pid, 0)
        return Ended(os.waitstatus_to_exitcode(status), usage=usage_of(used))

    @property
    def handles(self) -> list[int]:
        """The descriptors of this side."""
        mine = [self._socket.fileno(), *([self._tokens, self._tokens_end] if self.is_alive else [])]
        return [handle for handle in mine if handle >= 0]


_TOKEN_LENGTH = 8
_PIPE_LENGTH = 1 << 16
"""No pipe holds more bytes than this, unless it was asked to."""

_CERTAIN = 0
"""The number of a call that needs no token."""


def _tokens_of(pipe: int, length: int = _TOKEN_LENGTH) -> list[int]:
    """Take tokens out of a pipe by one read, which nobody else's comes in between of: the next one, or all."""
    try:
        data = os.read(pipe, length)
    except BlockingIOError:
        return []
    return [int.from_bytes(data[at : at + _TOKEN_LENGTH], "big") for at in range(0, len(data), _TOKEN_LENGTH)]


def _usage_so_far() -> Usage:
    """Return what this process and its children have used since it began."""
    return usage_of(resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))


def _requests(channel: socket.socket, tokens: int) -> Iterator[tuple[str, list[Any]]]:
    """Yield the calls that arrive and are not taken back, until the other side closes."""
    token: int | None = None
    with channel.makefile("rb") as lines:
        for line in lines:
            number, log, arguments = json.loads(line)
            if number != _CERTAIN and (token is None or token < number):
                token = next(iter(_tokens_of(tokens)), None)
            if number in (_CERTAIN, token):
                yield log, arguments


def _serve(function: Callable[..., None], channel: socket.socket, tokens: int, cwd: str) -> None:
    """Make the calls that arrive, until the other side closes. Never returns, whatever the user's code does."""
    pid = os.getpid()
    try:
        os.setsid()
        signals.set_wakeup_fd(-1)
        signals.signal(signals.SIGINT, signals.SIG_IGN)
        signals.signal(signals.SIGTERM, signals.SIG_DFL)
        signals.signal(signals.SIGUSR1, signals.SIG_DFL)
        signals.signal(signals.SIGHUP, signals.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        before = _usage_so_far()
        for log, arguments in _requests(channel, tokens):
            os.chdir(cwd)
            _print_to(log)
            began, clock = time.time(), time.monotonic()
            ended = _call(functools.partial(function, *arguments), log, in_worker=True)
            if os.getpid() != pid:
                break  # a copy that the call has forked has come back from it, too
            used = _usage_so_far()
            took_s = time.monotonic() - clock
            _print_nowhere()
            cpu_s, before = used.cpu_s - before.cpu_s, used
            answer = [ended.exit_code, ended.error, cpu_s, used.peak_memory_bytes, began, took_s, ended.moved]
            channel.sendall(json.dumps(answer).encode() + b"\n")
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


def _print_nowhere() -> None:
    """Let go of the log."""
    os.dup2(0, 1)
    os.dup2(0, 2)


def _call(call: Callable[[dict[str, str]], None], log: str, *, in_worker: bool = False) -> Ended:
    """Make a call and say how it ended; a traceback goes to the log."""
    moved: dict[str, str] = {}
    try:
        if in_worker:
            signals.signal(signals.SIGINT, signals.default_int_handler)
        try:
            call(moved)
        finally:
            if in_worker:
                signals.signal(signals.SIGINT, signals.SIG_IGN)
                _flush()
    except KeyboardInterrupt:
        return Ended(-signals.SIGINT, moved=moved)
    except SystemExit as error:
        code = exit_code_of(error)
        return Ended(code, "" if code == 0 else f"SystemExit: {error.code}", moved=moved)
    except BaseException as error:
        with contextlib.suppress(OSError), open(log, "a", encoding="utf-8", errors="replace") as file:
            file.write(_user_traceback(error))
        return Ended(1, _shortened(f"{type(error).__name__}: {error}"), moved=moved, exception=error)
    return Ended(0, moved=moved)


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
    engine = os.path.join(os.path.dirname(os.path.abspath(errors.__file__)), "")
    while frame is not None and os.path.abspath(frame.tb_frame.f_code.co_filename).startswith(engine):
        frame = frame.tb_next
    return "".join(traceback.format_exception(type(error), error, frame or error.__traceback__))
