"""Grids: all combinations of parameter values, and the ids of the jobs they become."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pointillist.errors import DefinitionError

STATEPOINT = "signac_statepoint.json"
JOB_ID = re.compile(r"[0-9a-f]{32}")
"""What an id of :func:`statepoint_id` looks like, and with it the folder of a job."""


def grid(**axes: Any) -> list[dict[str, Any]]:
    """Return every combination of the values of some parameters, the last one varying fastest.

    Parameters
    ----------
    axes
        For each parameter a list, tuple or other collection of values, or one value (a string is one value).

    Raises
    ------
    DefinitionError
        If a parameter has no value at all: there would be no point.

    Examples
    --------
    >>> grid(seed=[1, 2], dropout=0.5)
    [{'seed': 1, 'dropout': 0.5}, {'seed': 2, 'dropout': 0.5}]
    """
    values = [list(v) if isinstance(v, Iterable) and not isinstance(v, (str, Mapping)) else [v] for v in axes.values()]
    if empty := [repr(name) for name, of in zip(axes, values, strict=True) if not of]:
        raise DefinitionError(
            f"The grid has no point: there is no value for {', '.join(empty)}.",
            hint="Give each parameter one value or several.",
        )
    return [dict(zip(axes, combination, strict=True)) for combination in itertools.product(*values)]


def statepoint_id(statepoint: Mapping[str, Any]) -> str:
    """Return signac's id of a state point of plain JSON values."""
    return hashlib.md5(_encode(statepoint).encode(), usedforsecurity=False).hexdigest()


_encode = json.JSONEncoder(sort_keys=True).encode
