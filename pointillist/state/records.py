"""Folders of append-only files with one JSON record a line, each file written by one process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

SUFFIX = ".jsonl"


def file_names(folder: str) -> list[str]:
    """Return the names of the files in a folder of records, sorted; none when the folder is not there."""
    try:
        return sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def records(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the records of some lines; one that a crash cut off, or that is no record, is skipped."""
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield record
