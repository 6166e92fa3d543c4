"""How the study was run, from the provenance files that lie beside the results; all of them are optional."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Origin:
    """What is known about the runs that made the results.

    Attributes
    ----------
    facts
        Name -> what there is, one entry for each different value.
    times
        Of each part its name, the number of results, and the median and the longest time for one, in seconds.
    n_known, n_records
        Results of which the origin is known, and all of them.
    """

    facts: dict[str, list[str]]
    times: list[dict[str, Any]]
    commits: list[str]
    n_known: int
    n_records: int


def read_origin(folders: Iterable[Path], parts: Iterable[str]) -> Origin:
    """Read the provenance of the present results in some job folders."""
    facts: dict[str, dict[str, None]] = {}
    seconds: dict[str, list[float]] = {}
    commits: dict[str, None] = {}
    moments: list[str] = []
    n_known = n_records = 0
    parts = list(parts)
    for folder in folders:
        for part in parts:
            if not (folder / f"{part}.json").exists():
                continue
            n_records += 1
            record = _read(folder / "provenance" / f"{part}.json")
            if record is None:
                continue
            try:
                told, wall_s = _facts(record), float(record.get("wall_s") or 0.0)
            except (AttributeError, TypeError, ValueError):
                continue  # damaged: as good as not recorded
            n_known += 1
            for name, value in told.items():
                facts.setdefault(name, {})[value] = None
            commit = _at(record, "code", "commit")
            if commit:
                commits[str(commit)] = None
            moments += [str(record[name]) for name in ("started", "ended") if record.get(name)]
            seconds.setdefault(part, []).append(wall_s)
    if moments:
        facts["when"] = {f"{min(moments)[:19].replace('T', ' ')} to {max(moments)[:19].replace('T', ' ')} UTC": None}
    times = [
        {"part": part, "n": len(found), "median_s": statistics.median(found), "longest_s": max(found)}
        for part, found in seconds.items()
    ]
    return Origin({name: sorted(values) for name, values in facts.items()}, times, list(commits), n_known, n_records)


def _facts(record: dict[str, Any]) -> dict[str, str]:
    commit, is_dirty = _at(record, "code", "commit"), _at(record, "code", "dirty")
    commit_text = commit and f"{commit}{' with uncommitted changes' if is_dirty else ''}"
    packages = record.get("packages")
    found = {
        "code": " ".join(f"plmnist {_at(record, 'code', 'plmnist')}, commit {commit_text or 'unknown'}".split()),
        "packages": packages and ", ".join(f"{name} {version}" for name, version in packages.items()),
        "Python": _at(record, "python", "version"),
        "machine": _machine(record.get("machine")),
        "cluster job": _at(record, "scheduler", "SLURM_JOB_ID"),
        "container": _at(record, "container", "image"),
    }
    return {name: str(value) for name, value in found.items() if value}


def _machine(machine: Any) -> str | None:
    if not isinstance(machine, dict):
        return None
    names = ("cpu", "cpu_capability", "cores", "threads", "device", "gpu", "system")
    words = []
    for name in names:
        value = machine.get(name)
        if isinstance(value, str) and value:
            words.append(value)
        elif isinstance(value, int):
            words.append(f"{value} {name.removesuffix('s') if value == 1 else name}")
    return ", ".join(words) or None


def _at(record: dict[str, Any], *path: str) -> Any:
    value: Any = record
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _read(path: Path) -> dict[str, Any] | None:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None
