"""Grids: all combinations of parameter values, and the jobs they become."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pointillist.project import FlowProject

STATEPOINT = "signac_statepoint.json"


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Return every combination of the values of some parameters, the last one varying fastest.

    Parameters
    ----------
    axes
        For each parameter a list, tuple or other collection of values, or one value (a string is one value).

    Examples
    --------
    >>> grid(seed=[1, 2], dropout=0.5)
    [{'seed': 1, 'dropout': 0.5}, {'seed': 2, 'dropout': 0.5}]
    """
    values = [list(v) if isinstance(v, Iterable) and not isinstance(v, (str, Mapping)) else [v] for v in axes.values()]
    return [dict(zip(axes, combination, strict=True)) for combination in itertools.product(*values)]


class JobCounts(NamedTuple):
    """How many jobs were made, and how many were there already."""

    new: int
    existing: int


def make_jobs(project: FlowProject | Any, statepoints: Iterable[Mapping[str, Any]]) -> JobCounts:
    """Make a job for each state point that has none yet; existing jobs are left as they are.

    Ids and files are those that ``project.open_job(statepoint).init()`` would make. A state point of plain JSON values
    is written directly, which is several times as fast; anything else (numbers of numpy, tuples, ...) goes by way of
    signac. A folder whose state point was never written, because a program was killed there, is completed.

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
    """
    contents: dict[str, bytes | Any] = {}
    for statepoint in statepoints:
        if _is_plain(statepoint):
            contents[statepoint_id(statepoint)] = json.dumps(statepoint).encode()
        else:
            job = project.open_job(dict(statepoint))
            contents[job.id] = job
    workspace = project.workspace
    os.makedirs(workspace, exist_ok=True)
    new = sum(_make_job(os.path.join(workspace, job_id), content) for job_id, content in contents.items())
    return JobCounts(new, len(contents) - new)


def statepoint_id(statepoint: Mapping[str, Any]) -> str:
    """Return signac's id of a state point of plain JSON values."""
    return hashlib.md5(json.dumps(statepoint, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _make_job(path: str, content: bytes | Any) -> bool:
    """Make one job folder, from the bytes of its state point or by a signac job; False when it is there."""
    statepoint = os.path.join(path, STATEPOINT)
    is_new = isinstance(content, bytes)
    if is_new:
        try:
            os.mkdir(path)
        except FileExistsError:
            is_new = False
    # A state point cut off by a crash is empty: it is written by one call.
    if not is_new and os.path.exists(statepoint) and os.path.getsize(statepoint):
        return False
    if not isinstance(content, bytes):
        content.init(force=True)
        return True
    handle = os.open(statepoint, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        written = os.write(handle, content)
        while written < len(content):
            written += os.write(handle, content[written:])
    finally:
        os.close(handle)
    return True


def _is_plain(value: Any) -> bool:
    """Say whether JSON gives a value back as it is, so that signac would write the same bytes."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str and "." not in key and _is_plain(item) for key, item in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind in _PLAIN_TYPES


_PLAIN_TYPES = {str, int, float, bool, type(None)}
