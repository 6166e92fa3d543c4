"""A snapshot of the workspace: what the job folders hold, each fact read once.

Owns all reading of job folders. A folder that can't be read is one broken job, named, and no reason to stop. Knows no
operations; opens signac jobs only for those who ask for one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from pointillist.errors import BrokenJobError, PointillistError

STATEPOINT = "signac_statepoint.json"
_JOB_ID = re.compile(r"[0-9a-f]{32}")


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
                return frozenset(entry.name for entry in entries if _is_file(entry))
        except OSError as error:
            raise self._broken(f"the folder can't be read ({error.strerror})") from error

    def _read(self, filename: str) -> Any:
        try:
            with open(os.path.join(self.path, filename), "rb") as file:
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


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


class Workspace:
    """The job folders of a project as they are at one moment.

    Parameters
    ----------
    path
        The workspace folder.
    open_job
        Opens a signac job from its state point and id; called only when a user's function wants a job.
    only
        Look at these jobs only, as if there were no others.
    """

    def __init__(
        self,
        path: str,
        open_job: Callable[[dict[str, Any], str], Any],
        *,
        only: Collection[str] | None = None,
    ) -> None:
        self.path = path
        self._only = only
        self._open_job = open_job
        self._folders: dict[str, JobFolder] = {}
        self._statepoints: dict[str, dict[str, Any]] = {}
        self._jobs: dict[str, Any] = {}
        self._broken: dict[str, BrokenJobError] = {}
        self._job_ids: list[str] | None = None

    @property
    def job_ids(self) -> list[str]:
        """The ids of all jobs that can be read, sorted."""
        if self._job_ids is None:
            names = sorted(name for name in self._names() if _JOB_ID.fullmatch(name))
            self._job_ids = [i for i in names if self._has_statepoint(i)]
        return self._job_ids

    @property
    def broken(self) -> dict[str, BrokenJobError]:
        """The job folders that can't be read, and why."""
        self.job_ids  # noqa: B018 - reading the jobs finds the broken ones
        return self._broken

    def refresh(self) -> None:
        """Forget which jobs there are and what was read of their folders; state points never change."""
        self._folders.clear()
        self._broken.clear()
        self._job_ids = None

    def forget(self, job_ids: Iterable[str]) -> None:
        """Forget what was read of some folders, because their tasks may have changed them."""
        for job_id in job_ids:
            self._folders.pop(job_id, None)

    def folder(self, job_id: str) -> JobFolder:
        """Return the reader of one job's folder."""
        folder = self._folders.get(job_id)
        if folder is None:
            folder = self._folders[job_id] = JobFolder(job_id, os.path.join(self.path, job_id))
        return folder

    def statepoint(self, job_id: str) -> dict[str, Any]:
        """Return the state point of a job as plain data; do not change it."""
        if job_id not in self._statepoints:
            statepoint = self.folder(job_id).json(STATEPOINT)
            if statepoint is None:
                raise self.folder(job_id)._broken(f"it has no {STATEPOINT}")
            if _statepoint_id(statepoint) != job_id:
                raise self.folder(job_id)._broken(f"{STATEPOINT} does not belong to this folder (its id differs)")
            self._statepoints[job_id] = statepoint
        return self._statepoints[job_id]

    def job(self, job_id: str) -> Any:
        """Return the signac job."""
        if job_id not in self._jobs:
            self._jobs[job_id] = self._open_job(self.statepoint(job_id), job_id)
        return self._jobs[job_id]

    def fingerprint(self, job_ids: Iterable[str]) -> str:
        """Return a hash of what some folders hold, by names, sizes and times."""
        return hashlib.sha1(
            "".join(JobFolder(i, os.path.join(self.path, i)).fingerprint() for i in job_ids).encode(),
            usedforsecurity=False,
        ).hexdigest()

    def _names(self) -> list[str]:
        if self._only is not None:
            return list(self._only)
        try:
            return os.listdir(self.path)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise PointillistError(
                f"The workspace {self.path} can't be read: {error.strerror}.",
                hint="It must be a readable folder.",
            ) from error

    def _has_statepoint(self, job_id: str) -> bool:
        try:
            self.statepoint(job_id)
        except BrokenJobError as error:
            self._broken[job_id] = error
            return False
        return True


def _statepoint_id(statepoint: dict[str, Any]) -> str:
    """Return signac's id of a state point."""
    return hashlib.md5(json.dumps(statepoint, sort_keys=True).encode(), usedforsecurity=False).hexdigest()
