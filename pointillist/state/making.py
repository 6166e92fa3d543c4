"""Jobs made in bulk: the folders and files that signac makes, without a detour for each.

A folder is made first, then its state point by one write, so whoever is killed leaves a folder that is whole or has
none yet; the next call completes it. Of several programs that make the same jobs at once the one that makes the folder
makes the job. Nothing is listed or counted by anybody else, so this works wherever ``mkdir`` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pointillist.definition.grid import STATEPOINT, statepoint_id
from pointillist.state.slices import in_slices, shared_bytes

FEW = 1000
"""So many jobs are looked for one by one; for more the workspace is listed."""

GRACE_S = 0.25
"""After this time a folder without a state point is taken for cut off; until then somebody may be about to write it."""

_EXISTING, _NEW, _UNFINISHED = range(3)


class JobCounts(NamedTuple):
    """How many jobs were made, and how many were there already."""

    new: int
    existing: int


def make_jobs(project: Any, statepoints: Iterable[Mapping[str, Any]]) -> JobCounts:
    """Make a job for each state point that has none yet; existing jobs are left as they are.

    Ids and files are those that ``project.open_job(statepoint).init()`` would make. A state point of plain JSON values
    is written directly, which is several times as fast; anything else (numbers of numpy, tuples, ...) goes by way of
    signac. A folder whose state point was never written, because a program was killed there, is completed. Thousands
    of jobs are shared out over the cores by forked copies of this process, unless it has other threads.

    Parameters
    ----------
    project
        The project, of ours or of signac.
    statepoints
        The state points.

    Returns
    -------
    JobCounts
        The numbers of new and of existing jobs; a state point given twice counts once.

    Raises
    ------
    TypeError
        When a state point is no mapping, or holds what JSON can't; nothing is made then. Keys with dots are signac's
        ``InvalidKeyError``.
    OSError
        When a folder or file can't be made. The jobs made until then stay; the next call makes the others.
    """
    contents = _contents(project, statepoints)
    ids = list(contents)
    workspace = project.workspace
    os.makedirs(workspace, exist_ok=True)
    prefix = os.path.join(workspace, "")
    there = frozenset(os.listdir(workspace)) if len(ids) > FEW else frozenset()
    outcomes = shared_bytes(len(ids))

    def make(begin: int, end: int) -> None:
        for place in range(begin, end):
            if outcomes[place] == _NEW:
                continue  # by a copy that has died since
            job_id = ids[place]
            folder = prefix + job_id
            if job_id not in there and _make_folder(folder):
                _write(folder, contents[job_id])
                outcomes[place] = _NEW
            elif not _has_statepoint(folder):
                outcomes[place] = _UNFINISHED

    in_slices(len(ids), make)
    unfinished = [prefix + ids[place] for place, outcome in enumerate(outcomes) if outcome == _UNFINISHED]
    if unfinished:
        time.sleep(GRACE_S)
    cut_off = [folder for folder in unfinished if not _has_statepoint(folder)]
    for folder in cut_off:
        _make_folder(folder)  # one that was removed since it was listed
        _write(folder, contents[os.path.basename(folder)])
    new = bytes(outcomes).count(_NEW) + len(cut_off)
    return JobCounts(new, len(ids) - new)


def _contents(project: Any, statepoints: Iterable[Mapping[str, Any]]) -> dict[str, bytes | Any]:
    """Return for each job id the bytes of its state point; a signac job where only signac knows them."""
    contents: dict[str, bytes | Any] = {}
    for statepoint in statepoints:
        if not isinstance(statepoint, Mapping):
            raise TypeError(f"make_jobs takes several state points, each of them a mapping: {statepoint!r} is none.")
        if _is_plain(statepoint):
            contents[statepoint_id(statepoint)] = json.dumps(statepoint).encode()
            continue
        try:
            job = project.open_job(dict(statepoint))
            job.statepoint  # noqa: B018 - impossible keys are refused before there is a folder
        except Exception as error:
            error.add_note(f"It is about the state point {statepoint!r}.")
            raise
        contents[job.id] = job
    return contents


def _make_folder(folder: str) -> bool:
    """Make a job folder; False when it is there."""
    try:
        os.mkdir(folder)
    except FileExistsError:
        return False
    return True


def _has_statepoint(folder: str) -> bool:
    """Say whether a state point was written; one that was cut off is empty, because it is written by one call."""
    try:
        return os.stat(f"{folder}{os.sep}{STATEPOINT}").st_size > 0
    except FileNotFoundError:
        return False


def _write(folder: str, content: bytes | Any) -> None:
    """Write the state point of a job, from its bytes or by the signac job."""
    if not isinstance(content, bytes):
        content.init(force=True)
        return
    path = f"{folder}{os.sep}{STATEPOINT}"
    # Not truncated: somebody who writes it at this moment writes the same bytes.
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        try:
            written = os.write(handle, content)
            while written < len(content):
                written += os.write(handle, content[written:])
        finally:
            os.close(handle)
    except OSError:
        # The part that went onto a full disk would pass for the whole.
        with contextlib.suppress(OSError):
            os.unlink(path)
        raise


def _is_plain(value: Any) -> bool:
    """Say whether JSON gives a value back as it is, so that signac would write the same bytes."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and "." not in key and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind in _PLAIN_TYPES


_PLAIN_TYPES = {str, int, float, bool, type(None)}
