"""Parameters beside tasks: which keys to show, and what an aggregate's jobs have for them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pointillist.definition.conditions import DOCUMENT
from pointillist.errors import BrokenJobError
from pointillist.state.workspace import Workspace

_ABSENT = object()
_MOST_VALUES = 3


def varying_keys(workspace: Workspace, job_ids: Iterable[str]) -> list[str]:
    """Return the state point keys (nested ones with dots) in which jobs differ; of one job, all of them."""
    first: dict[str, str] = {}
    seen: dict[str, int] = {}
    varies: set[str] = set()
    count = 0
    for job_id in job_ids:
        count += 1
        for key, value in _flat(workspace.statepoint(job_id)):
            seen[key] = seen.get(key, 0) + 1
            if key in varies:
                continue
            text = json.dumps(value, sort_keys=True)
            if first.setdefault(key, text) != text:
                varies.add(key)
    if count <= 1:
        return list(first)
    return [key for key in first if key in varies or seen[key] != count]


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def shown_values(workspace: Workspace, job_ids: Sequence[str], key: str, width: int | None = None) -> str:
    """Return what the jobs of an aggregate have for a key; different values are listed, many are counted.

    Parameters
    ----------
    workspace
        Where to look.
    job_ids
        The jobs.
    key
        Of the state point (``sp.`` may stand before it) or, after ``doc.``, of the job document.
    width
        The most characters of it to return.
    """
    values: dict[str, None] = {}
    for job_id in job_ids:
        value = _look_up(workspace, job_id, key)
        values.setdefault("" if value is _ABSENT else _text(value))
        if len(values) > _MOST_VALUES and len(job_ids) > 1:
            break
    text = ", ".join(values)
    if len(values) > _MOST_VALUES:
        text = ", ".join(list(values)[:_MOST_VALUES]) + ", ..."
    return text if width is None or len(text) <= width else text[: max(0, width - 3)] + "..."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _look_up(workspace: Workspace, job_id: str, key: str) -> Any:
    source, _, rest = key.partition(".")
    try:
        if source == "doc" and rest:
            return _descend(workspace.folder(job_id).json(DOCUMENT) or {}, rest)
        statepoint = workspace.statepoint(job_id)
        value = _descend(statepoint, key)
        return _descend(statepoint, rest) if value is _ABSENT and source == "sp" else value
    except BrokenJobError:
        return _ABSENT


def _descend(value: Any, key: str) -> Any:
    if isinstance(value, Mapping) and key in value:
        return value[key]
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value
