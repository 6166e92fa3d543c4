"""Sessions and claims: which processes work in this project, and which tasks are theirs.

A session is one process that runs tasks. It holds a lock on a file of its own for as long as it, or any process that
it started, lives: the operating system lets go of the lock with the last of them, however they end. A task is claimed
by a symbolic link that names the session, which is made in one step or not at all. A claim whose session is gone is
stale and may be taken over.

Each session has one such link, and its claims are further names of that one: to give a file a name costs a file system
a fraction of what it costs to make one.

On another host the lock says nothing reliable, so there a session counts as alive while its file was touched lately;
not so long where the scheduler has started the same cluster job, ours, once more.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from urllib.parse import quote, unquote

from pointillist.state.place import Place
from pointillist.state.tasks import TaskKey

HEARTBEAT_S = 30.0
LOST_AFTER_S = 900.0
RESTARTED_AFTER_S = 3 * HEARTBEAT_S
"""So long a session on another host counts as alive when it belongs to an earlier start of our own cluster job."""

_CLAIM_SUFFIX = ".claim"
"""Behind the name of a session: the link of which its claims are further names."""


class Sessions:
    """All sessions and claims of a project.

    Parameters
    ----------
    path
        The folder of the engine's files in the project; it need not exist.
    """

    def __init__(self, path: str) -> None:
        self._sessions = os.path.join(path, "sessions")
        self._claims = os.path.join(path, "claims")
        self._lock = os.path.join(path, "claims.lock")
        self._place = Place.here()

    def open(self) -> Session:
        """Begin a session of this process."""
        os.makedirs(self._sessions, exist_ok=True)
        return Session(self._sessions)

    def is_alive(self, session: str) -> bool:
        """Say whether a session still has a process.

        What can't be known counts as alive: better to leave a task alone than to run it twice.
        """
        path = os.path.join(self._sessions, session)
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        try:
            if _host_of(session) != this_host():
                patience_s = RESTARTED_AFTER_S if self._is_restarted_here(handle) else LOST_AFTER_S
                return time.time() - os.fstat(handle).st_mtime < patience_s
            # A shared lock, so that two who ask at the same time do not see each other.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(handle)
        return False

    def _is_restarted_here(self, handle: int) -> bool:
        """Whether a session belongs to an earlier start of the cluster job that this process works for."""
        return self._place is not None and self._place.is_later_start_of(_place_in(handle))

    def claim(self, session: Session, operation: str, aggregate_id: str) -> bool:
        """Claim a task for a session; False when another one that is alive has it."""
        path = self._path(operation, aggregate_id)
        if session.link(path):
            return True
        with self._locked():
            holder = _holder(path)
            if holder is not None:
                if holder == session.id or self.is_alive(holder):
                    return False
                os.unlink(path)
        return session.link(path)

    def release(self, operation: str, aggregate_id: str) -> None:
        """Give a claimed task back."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path(operation, aggregate_id))

    def holder(self, operation: str, aggregate_id: str) -> str | None:
        """Return the session that has claimed a task and is alive."""
        holder = _holder(self._path(operation, aggregate_id))
        return holder if holder is not None and self.is_alive(holder) else None

    def live_claims(self) -> dict[TaskKey, str]:
        """Return the session of each claimed task; stale claims are left out."""
        claims = {}
        alive: dict[str, bool] = {}
        for operation, aggregate_id, holder in self._all_claims():
            if holder not in alive:
                alive[holder] = self.is_alive(holder)
            if alive[holder]:
                claims[operation, aggregate_id] = holder
        return claims

    def names(self) -> set[str]:
        """Return the names of the sessions that have not ended, and of some that were killed."""
        try:
            return {name for name in os.listdir(self._sessions) if not name.endswith(_CLAIM_SUFFIX)}
        except FileNotFoundError:
            return set()

    def count_alive(self) -> int:
        """Return how many sessions have a process."""
        return sum(map(self.is_alive, self.names()))

    def sweep(self) -> None:
        """Remove stale claims and the files of sessions that are gone."""
        with self._locked():
            for operation, aggregate_id, holder in self._all_claims():
                if not self.is_alive(holder):
                    self.release(operation, aggregate_id)
        with contextlib.suppress(FileNotFoundError):
            for name in os.listdir(self._sessions):
                if not self.is_alive(name.removesuffix(_CLAIM_SUFFIX)):
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(os.path.join(self._sessions, name))

    def _all_claims(self) -> Iterator[tuple[str, str, str]]:
        try:
            operations = os.listdir(self._claims)
        except FileNotFoundError:
            return
        for operation in operations:
            for aggregate_id in os.listdir(os.path.join(self._claims, operation)):
                holder = _holder(os.path.join(self._claims, operation, aggregate_id))
                if holder is not None:
                    yield unquote(operation), aggregate_id, holder

    def _path(self, operation: str, aggregate_id: str) -> str:
        return os.path.join(self._claims, quote(operation, safe=""), aggregate_id)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        os.makedirs(os.path.dirname(self._lock), exist_ok=True)
        handle = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


class Session:
    """One process that runs tasks, with what it starts; its file is locked while any of them lives."""

    def __init__(self, folder: str) -> None:
        self.host = this_host()
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self.id = f"{stamp}-{os.getpid()}-{os.urandom(3).hex()}-{quote(self.host, safe='')}"
        self._path = os.path.join(folder, self.id)
        # The lock comes before the name: nobody may see the session and take it for dead.
        draft = f"{self._path}.draft"
        self.lock_fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with contextlib.suppress(OSError):
            fcntl.flock(self.lock_fd, fcntl.LOCK_EX)
        self.place = Place.here()
        if self.place is not None:
            os.write(self.lock_fd, json.dumps(self.place.as_json()).encode())
        os.rename(draft, self._path)
        self._claim = f"{self._path}{_CLAIM_SUFFIX}"
        os.symlink(self.id, self._claim)
        self._touched = time.monotonic()

    def touch(self) -> None:
        """Show other hosts that the session lives; cheap enough to call often."""
        now = time.monotonic()
        if now - self._touched >= HEARTBEAT_S:
            self._touched = now
            with contextlib.suppress(OSError):
                os.utime(self._path)

    def link(self, path: str) -> bool:
        """Make a link that names this session, in one step; False when there is one."""
        try:
            os.link(self._claim, path, follow_symlinks=False)
        except FileExistsError:
            return False
        except OSError:  # no folder yet, or a file system that has no second names, or no more of them
            os.makedirs(os.path.dirname(path), exist_ok=True)
            try:
                os.symlink(self.id, path)
            except FileExistsError:
                return False
        return True

    def close(self) -> None:
        """End the session. Children that still run keep its lock, so the file stays until they are gone."""
        os.close(self.lock_fd)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._claim)
        try:
            handle = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(self._path)
        except OSError:
            return
        finally:
            os.close(handle)


def this_host() -> str:
    """Return the name of this machine."""
    return os.uname().nodename


def _host_of(session: str) -> str:
    return unquote(session.split("-", 3)[3]) if session.count("-") >= 3 else ""


def _place_in(handle: int) -> Place | None:
    """Return the cluster job that a session's file names."""
    try:
        return Place.of(json.loads(os.read(handle, 1 << 16)))
    except (OSError, ValueError):
        return None


def _holder(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None
