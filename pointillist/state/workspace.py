"""A snapshot of the workspace: what the job folders hold, each fact read once.

Owns all reading of job folders. A folder that can't be read is one broken job, named, and no reason to stop. Knows no
operations; opens signac jobs only for those who ask for one.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pointillist.definition.conditions import JobCondition
from pointillist.definition.grid import JOB_ID, STATEPOINT, statepoint_id
from pointillist.errors import BrokenJobError, PointillistError
from pointillist.state import cache
from pointillist.state.jobs import SeenJob
from pointillist.state.slices import in_slices
from pointillist.state.survey import VALID, YES, Survey, is_file, make_survey

REMEMBER_FROM = 500
"""Reading fewer jobs anew is faster than anybody notices; nothing is remembered between commands."""

TICK_NS = 2_500_000_000
"""No file system's clock ticks more slowly (FAT: 2 s)."""

FOREIGN_TICK_NS = 60_000_000_000
"""The same where the clock can't be asked of the workspace's own file system, only of the project's."""

ONE_BY_ONE = 32
"""So many state points are read one by one; who wants more gets all."""


class JobFolder:
    """One job's folder; each file's presence and each JSON file's content is read at most once."""

    __slots__ = ("_json", "_names", "id", "path")

    def __init__(self, job_id: str, path: str) -> None:
        self.id = job_id
        self.path = path
        self._names: frozenset[str] | None = None
        self._json: dict[str, Any] = {}

    def isfile(self, filename: str) -> bool:
        """Say whether a file (or a link to one) is there; ``filename`` is relative to the folder."""
        if os.sep in filename or filename in ("", ".", ".."):
            return os.path.isfile(os.path.join(self.path, filename))
        if self._names is None:
            self._names = self._list()
        return filename in self._names

    def json(self, filename: str) -> Any:
        """Return the content of a JSON file, None when it is not there.

        Raises
        ------
        BrokenJobError
            When the file can't be read, or the job document is not an object.
        """
        if filename not in self._json:
            self._json[filename] = self._read(filename)
        return self._json[filename]

    def fingerprint(self) -> str:
        """Return a hash of the names, sizes and modification times of the folder's files."""
        digest = hashlib.sha1(usedforsecurity=False)
        try:
            entries = sorted(os.scandir(self.path), key=lambda entry: entry.name)
        except OSError:
            return ""
        for entry in entries:
            try:
                stat = entry.stat()
            except OSError:
                continue
            digest.update(f"{entry.name}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def _list(self) -> frozenset[str]:
        try:
            with os.scandir(self.path) as entries:
                return frozenset(entry.name for entry in entries if is_file(entry))
        except OSError as error:
            raise self._broken(f"the folder can't be read ({error.strerror})") from error

    def _read(self, filename: str) -> Any:
        try:
            with open(os.path.join(self.path, filename), "rb", buffering=0) as file:
                content = json.loads(file.read())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._broken(f"{filename} can't be read ({error.strerror})") from error
        except UnicodeDecodeError as error:
            raise self._broken(f"{filename} is not UTF-8 text") from error
        except (json.JSONDecodeError, RecursionError) as error:
            where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
            raise self._broken(f"{filename} is not valid JSON{where}") from error
        if filename.startswith("signac_") and not isinstance(content, dict):
            raise self._broken(f"{filename} holds no JSON object")
        return content

    def _broken(self, what: str) -> BrokenJobError:
        return BrokenJobError(self.id, f"Job {self.id}: {what}.", hint=f"Mend or remove {self.path}.")


class Workspace:
    """The job folders of a project as they are at one moment.

    Parameters
    ----------
    path
        The workspace folder.
    open_job
        Opens a signac job from its state point and id; called only when a user's function wants a job.
    cache_folder
        Where to remember between commands what was read; None for nowhere.
    only
        Look at these jobs only, as if there were no others.
    remember_from
        How many jobs are worth remembering.
    """

    def __init__(
        self,
        path: str,
        open_job: Callable[[dict[str, Any], str], Any],
        cache_folder: str | None = None,
        *,
        only: Collection[str] | None = None,
        remember_from: int = REMEMBER_FROM,
    ) -> None:
        self.path = path
        self._only = only
        self._open_job = open_job
        self._cache_folder = cache_folder if only is None and not os.environ.get(cache.OFF_VARIABLE) else None
        self._remember_from = remember_from
        self._conditions: list[JobCondition] = []
        self._survey: Survey | None = None
        self._folders: dict[str, JobFolder] = {}
        self._statepoints: dict[str, dict[str, Any]] = {}
        self._has_all_statepoints = False
        self._expects_few = False
        self._jobs: dict[str, Any] = {}
        self._broken: dict[str, BrokenJobError] = {}
        self._job_ids: list[str] = []
        self._is_read = False

    @property
    def job_ids(self) -> list[str]:
        """The ids of all jobs that can be read, sorted."""
        self.survey()
        return self._job_ids

    @property
    def broken(self) -> dict[str, BrokenJobError]:
        """The job folders that can't be read, and why."""
        self.survey()
        return self._broken

    def declare(self, conditions: Iterable[JobCondition]) -> None:
        """Say what will be asked of all jobs, so that it is read along with the rest."""
        self._conditions = list(conditions)

    def expect_few(self) -> None:
        """From now on read state points one by one: whoever works on some jobs does not want those of all."""
        self._expects_few = True

    def refresh(self) -> None:
        """Forget which jobs there are and what was read of their folders; state points never change."""
        self._folders.clear()
        self._broken.clear()
        self._is_read = False
        self._has_all_statepoints = False

    def forget(self, job_ids: Iterable[str]) -> None:
        """Forget what was read of some folders, because their tasks may have changed them."""
        for job_id in job_ids:
            self._folders.pop(job_id, None)

    def survey(self) -> Survey:
        """Return the answers to all that was declared, read at the first question."""
        if not self._is_read or self._survey is None:
            with _few_collections():
                self._survey = self._read_all(self._survey)
                self._is_read = True
        return self._survey

    def has_folder(self, job_id: str) -> bool:
        """Say whether there is a job folder of this name, readable or not; looks at nothing else."""
        return bool(JOB_ID.fullmatch(job_id)) and os.path.lexists(os.path.join(self.path, job_id))

    def inode(self, job_id: str) -> int:
        """Return the number that a job's folder keeps when it is renamed; 0 when it is not there."""
        try:
            return os.stat(os.path.join(self.path, job_id)).st_ino
        except OSError:
            return 0

    def ids_by_inode(self, inodes: Collection[int]) -> dict[int, str]:
        """Return which job folders have some numbers."""
        try:
            with os.scandir(self.path) as entries:
                found = {entry.inode(): entry.name for entry in entries if entry.inode() in inodes}
        except OSError:
            return {}
        return {inode: name for inode, name in found.items() if JOB_ID.fullmatch(name)}

    def has_job(self, job_id: str) -> bool:
        """Say whether there is a job of this id that can be read; looks at nothing else."""
        return self.has_folder(job_id) and self._has_statepoint(job_id)

    def folder(self, job_id: str) -> JobFolder:
        """Return the reader of one job's folder."""
        folder = self._folders.get(job_id)
        if folder is None:
            folder = self._folders[job_id] = JobFolder(job_id, os.path.join(self.path, job_id))
        return folder

    def statepoint(self, job_id: str) -> dict[str, Any]:
        """Return the state point of a job as plain data; do not change it."""
        if job_id not in self._statepoints:
            wants_all = len(self._statepoints) >= ONE_BY_ONE and self._is_read and not self._expects_few
            if wants_all and not self._has_all_statepoints:
                self._read_statepoints()
                return self.statepoint(job_id)
            self._statepoints[job_id] = self._read_statepoint(job_id)
        return self._statepoints[job_id]

    def job(self, job_id: str) -> Any:
        """Return the signac job."""
        if job_id not in self._jobs:
            self._jobs[job_id] = self._open_job(self.statepoint(job_id), job_id)
        return self._jobs[job_id]

    def let_go(self, job_ids: Iterable[str]) -> None:
        """Keep the signac jobs no longer that were opened by some ids, because they have others now."""
        for job_id in job_ids:
            self._jobs.pop(job_id, None)

    def seen_job(self, job_id: str) -> SeenJob:
        """Return what stands for the signac job until somebody needs it."""
        return SeenJob(job_id, os.path.join(self.path, job_id), self.statepoint, self.job)

    def fingerprint(self, job_ids: Iterable[str]) -> str:
        """Return a hash of what some folders hold, by names, sizes and times."""
        return hashlib.sha1(
            "".join(JobFolder(i, os.path.join(self.path, i)).fingerprint() for i in job_ids).encode(),
            usedforsecurity=False,
        ).hexdigest()

    def cache_file(self, name: str, job_count: int) -> str:
        """Return where to remember something about so many jobs between commands; "" when it should not be."""
        if self._cache_folder is None or job_count < self._remember_from:
            return ""
        return os.path.join(self._cache_folder, name)

    def _read_all(self, last: Survey | None) -> Survey:
        names = self._names()
        path = self.cache_file("facts", len(names))
        clock_ns = self._clock_ns() if path else None
        known = last.data() if last else cache.load(path) if path else None
        survey = make_survey(self.path, names, self._conditions, known=known, clock_ns=clock_ns)
        if clock_ns is not None and survey.changed > len(names) // 100:
            cache.save(path, survey.data())
        valid = survey.column(VALID) or b""
        if valid.count(YES) == len(names):
            self._job_ids = names
        else:
            self._job_ids = [
                i for i, answer in zip(names, valid, strict=True) if answer == YES or self._has_statepoint(i)
            ]
        return survey

    def _read_statepoint(self, job_id: str) -> dict[str, Any]:
        folder = self.folder(job_id)
        statepoint = folder.json(STATEPOINT)
        if statepoint is None:
            raise folder._broken(f"it has no {STATEPOINT}")
        if statepoint_id(statepoint) != job_id:
            raise folder._broken(f"{STATEPOINT} does not belong to this folder (its id differs)")
        assert isinstance(statepoint, dict)
        return statepoint

    def _read_statepoints(self) -> None:
        """Get the state points of all jobs; one that was read once is remembered, because its id is its hash."""
        self._has_all_statepoints = True
        path = self.cache_file("statepoints", len(self._job_ids))
        with _few_collections():
            if path and (known := cache.load(path)):
                ids, statepoints = known
                known_ids = (ids[begin : begin + 32] for begin in range(0, len(ids), 32))
                self._statepoints = dict(zip(known_ids, statepoints, strict=True))
            missing = [i for i in self._job_ids if i not in self._statepoints]

            def read(begin: int, end: int) -> list[dict[str, Any] | None]:
                found: list[dict[str, Any] | None] = []
                for job_id in missing[begin:end]:
                    try:
                        found.append(self._read_statepoint(job_id))
                    except BrokenJobError:
                        found.append(None)
                    self._folders.pop(job_id, None)
                return found

            parts = in_slices(len(missing), read)
            for job_id, statepoint in zip(missing, (s for part in parts for s in part), strict=True):
                if statepoint is not None:
                    self._statepoints[job_id] = statepoint
            if path and len(missing) > len(self._job_ids) // 100:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                kept = [i for i in self._job_ids if i in self._statepoints]
                cache.save(path, ("".join(kept), [self._statepoints[i] for i in kept]))

    def _clock_ns(self) -> int | None:
        """Return a moment that any later change of the workspace will show to be later than."""
        assert self._cache_folder is not None
        present = cache.present_ns(self._cache_folder)
        if present is None:
            return None
        if os.stat(self._cache_folder).st_dev == os.stat(self.path).st_dev:
            return present - TICK_NS
        return min(present, time.time_ns()) - FOREIGN_TICK_NS

    def _names(self) -> list[str]:
        """Return the names of all job folders, sorted."""
        try:
            found = os.listdir(self.path) if self._only is None else self._only
            names = sorted(name for name in found if len(name) == 32)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PointillistError(
                f"The workspace {self.path} can't be read: {error.strerror}.",
                hint="It must be a readable folder.",
            ) from error
        together = "".join(names)
        # Among a million names, looking at each takes ten times as long as looking for what should not be there.
        if together.isascii() and not together.encode().translate(None, b"0123456789abcdef"):
            return names
        return [name for name in names if JOB_ID.fullmatch(name)]

    def _has_statepoint(self, job_id: str) -> bool:
        try:
            self._folders.pop(job_id, None)
            self._statepoints[job_id] = self._read_statepoint(job_id)
        except BrokenJobError as error:
            self._broken[job_id] = error
            return False
        return True


@contextmanager
def _few_collections() -> Iterator[None]:
    """Keep Python from looking for garbage among millions of new objects that are none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
