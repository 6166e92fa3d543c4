"""Provenance: how, where and from what each file of a folder was made.

Result files depend on configuration, data and code only, so that their bytes can be compared. What else there is to
know lies apart: ``provenance/<part>.json`` tells of the attempt that made the present files of a part, and
``provenance/<part>-<attempt>.json`` of those before it and of those that failed. ``docs/provenance.md`` describes the
entries. What can be known of process and machine, :mod:`plmnist.surroundings` knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist import results
from plmnist.config import STACKED
from plmnist.errors import ResultError
from plmnist.results.files import Write, sha256, was_cut_off, write_atomically, write_in_order
from plmnist.surroundings import command, machine_facts, process_facts, source_hash, versions

if TYPE_CHECKING:
    from plmnist.batch.folders import Listener

__all__ = [
    "FOLDER",
    "PARTS",
    "SCHEMA",
    "Making",
    "Recorder",
    "code_of_file",
    "fingerprint",
    "fingerprint_of_file",
    "last_failure",
    "load_provenance",
    "others_of",
    "parts_of",
    "recording",
]

SCHEMA = "plmnist/provenance/1"
FOLDER = "provenance"

PARTS = {
    "train": (results.MODEL, results.HISTORY, results.TRAIN_RECORD),
    **{name: (record, *results.ATTACK_FILES[name].values()) for name, record in results.ATTACK_RECORDS.items()},
    "checks": (results.CHECKS,),
}
"""Name of a part -> the files it makes."""


class Recorder:
    """A listener that writes down the provenance of each folder, of what is made and of what fails.

    New files are written by :meth:`writer`, so that nothing is complete without its provenance. Several threads may
    tell it of different folders; the listener behind it hears one after the other.

    Parameters
    ----------
    part
        Name in :data:`PARTS`.
    listener
        Is told everything, as it comes.
    settings
        What else was chosen for this part, for instance the engine.
    """

    def __init__(self, part: str, listener: Listener, **settings: Any) -> None:
        self._part = part
        self._listener = listener
        self._settings = settings
        self._open: dict[str, _Start] = {}
        self._origins: dict[str, Path | None] = {}
        self._turn = threading.Lock()

    def started(self, folder: str, **settings: Any) -> None:
        """Note when the work for a folder begins, and which settings are others than was asked for."""
        self._open[folder] = _Start.now(self._settings | settings)
        with self._turn:
            self._listener.started(folder)

    def copied(self, folder: str, origin: Path | None) -> None:
        """Note that the files of a folder are those of another one."""
        self._origins[folder] = origin

    def writer(self, name: str, note: str) -> Write:
        """Return what writes the new files of a folder, and their provenance before the last of them, the record."""

        def write(folder: Path, contents: Mapping[str, bytes]) -> None:
            *others, last = contents
            record = self._told(name, "completed", note, json.loads(contents[last]))
            record |= {"outputs": {file: sha256(content) for file, content in contents.items()}}
            path, content = _placed(folder, record)
            write_in_order(folder, {**{file: contents[file] for file in others}, path: content, last: contents[last]})

        return write

    def done(self, folder: str, summary: str) -> None:
        """Pass on that the files are there, which :meth:`writer` wrote, or which were there before."""
        del self._open[folder]
        with self._turn:
            self._listener.done(folder, summary)

    def failed(self, folder: str, error: Exception) -> None:
        """Write down an attempt that failed, beside the one that made the present files."""
        if Path(folder).is_dir():
            note = getattr(error, "one_line", str(error))
            with contextlib.suppress(OSError):  # the disk may be what failed, and the error itself is told below
                _keep(Path(folder), self._told(folder, "failed", note, _record(Path(folder), self._part)))
        del self._open[folder]
        with self._turn:
            self._listener.failed(folder, error)

    def _told(self, folder: str, outcome: str, note: str, made: dict[str, Any]) -> dict[str, Any]:
        """Return what is known of an attempt, all but the hashes of its files; `made` is the part's record."""
        record = self._open[folder].told(self._part, outcome, note)
        record["command"] = [*command(os.path.dirname(folder)), folder]
        record["machine"] |= {"device": made.get("device", "cpu") if outcome == "completed" else None}
        return record | self._origin(folder) | {"inputs": _inputs(made, self._part)}

    def _origin(self, folder: str) -> dict[str, Any]:
        """Return, of a copy, where it was copied from, and with what settings and on what machine that was computed."""
        if folder not in self._origins:
            return {"copied_from": None}
        origin = self._origins.pop(folder)
        record: dict[str, Any] = {}
        if origin is not None:
            with contextlib.suppress(ResultError):
                record = load_provenance(origin, self._part)
        about = {"folder": origin and origin.name, "attempt": record.get("attempt")}
        return {"copied_from": about, "settings": record.get("settings"), "machine": record.get("machine")}


@dataclass
class Making:
    """What is made by :func:`recording`, and from what."""

    inputs: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    """Paths in the folder."""


@contextlib.contextmanager
def recording(folder: Path, part: str, *, code: Path, packages: Iterable[str] = ()) -> Iterator[Making]:
    """Write down the provenance of files that are made in a folder from the results of many others.

    Nothing is written if nothing was made.

    Parameters
    ----------
    folder
        Where the files are made.
    part
        What they are called together.
    code
        A folder with the Python files that make them, besides plmnist.
    packages
        What they depend on besides the packages that results depend on.
    """
    start, making = _Start.now({}), Making()

    def keep(outcome: str, note: str, outputs: Mapping[str, str]) -> None:
        record = start.told(part, outcome, note)
        about = {"code": record["code"] | {"study_sha256": source_hash(code)}, "inputs": making.inputs}
        _keep(folder, record | about | {"packages": record["packages"] | versions(packages), "outputs": outputs})

    try:
        yield making
    except Exception as error:
        keep("failed", f"{type(error).__name__}: {error}", {})
        raise
    if making.outputs:
        keep("completed", f"{len(making.outputs)} files", _hashes(folder, making.outputs))


def load_provenance(folder: Path | str, part: str) -> dict[str, Any]:
    """Return how the present files of a part were made.

    Raises
    ------
    ResultError
        If that was not recorded or can't be understood.
    """
    path = Path(folder) / FOLDER / f"{part}.json"
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultError(f"{path} does not exist", hint="It was made by an older version, or removed.") from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ResultError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise ResultError(f"{path} is not of the schema {SCHEMA}")
    return record


def last_failure(folder: Path | str, part: str) -> str | None:
    """Return what was said of the last attempt at a part, if that failed; None if not, or if nothing is recorded."""
    attempts = []
    for path in (Path(folder) / FOLDER).glob(f"{part}*.json"):
        if path.stem == part or path.stem.startswith(f"{part}-"):
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # damaged: as good as not recorded
                record = json.loads(path.read_bytes())
                attempts.append((str(record["started"]), record["outcome"] == "failed", str(record["note"])))
    _, has_failed, note = max(attempts, default=("", False, ""))
    return note if has_failed else None


def parts_of(folder: Path | str) -> list[str]:
    """Return the parts whose last file, or whose provenance, is in a folder."""
    folder = Path(folder)
    records = {part: results.TRAIN_RECORD if part == "train" else f"{part}.json" for part in PARTS}
    return [p for p in PARTS if (folder / records[p]).exists() or (folder / FOLDER / f"{p}.json").exists()]


def others_of(folder: Path | str) -> list[str]:
    """Return what else :func:`recording` has recorded in a folder: things that are made from the results of many."""
    # Earlier attempts have a dash in their names.
    names = sorted(path.stem for path in (Path(folder) / FOLDER).glob("*.json"))
    return [name for name in names if name not in PARTS and "-" not in name]


def fingerprint(folder: Path | str, part: str) -> str | None:
    """Return a text that is equal for two machines exactly if the same bytes are to be expected of a part on both.

    It names the packages, the processor, the instructions used and what tells them to compute otherwise, for the part
    and for the training it rests on. The code of plmnist is not in it: a change of results by a change of code shall be
    seen. A network of the stacked engine depends on its company in the stack, so its text is equal to no other. None if
    something was not recorded.
    """
    texts = []
    for name in dict.fromkeys(("train", part)):
        try:
            record = load_provenance(folder, name)
            # The device that was asked for says less than the one that it turned out to be, which the machine names.
            settings = {key: value for key, value in record["settings"].items() if key != "device"}
            texts.append(json.dumps([record["packages"], settings, *map(record["machine"].get, _DECISIVE)]))
            if results.load_train(folder).get("engine") == STACKED:
                texts.append(record["attempt"])
        except (ResultError, KeyError, TypeError, AttributeError):
            return None
    return "\n".join(texts)


def fingerprint_of_file(folder: Path | str, name: str) -> str | None:
    """Return the :func:`fingerprint` for the part that makes a file; None if none does, or it was not recorded."""
    part = _part_that_makes(name)
    return fingerprint(folder, part) if part is not None else None


def code_of_file(folder: Path | str, name: str) -> str | None:
    """Return which version of plmnist made a file, its sources by their hash; None if that was not recorded."""
    part = _part_that_makes(name)
    try:
        code = load_provenance(folder, part)["code"] if part is not None else {}
        return f"plmnist {code['plmnist']}, sources {code['source_sha256'][:8]}"
    except (ResultError, KeyError, TypeError):
        return None


def _part_that_makes(name: str) -> str | None:
    return next((part for part, files in PARTS.items() if name in files), None)


_DECISIVE = ("torch", "torch_build_sha256", "cpu", "cpu_capability", "threads", "device", "variables")


@dataclass(frozen=True)
class _Start:
    attempt: str
    time: datetime
    clock_s: float
    cpu_s: float
    settings: dict[str, Any]

    @classmethod
    def now(cls, settings: dict[str, Any]) -> _Start:
        now = datetime.now(UTC)
        attempt = f"{now:%Y%m%dT%H%M%SZ}-{os.urandom(3).hex()}"
        return cls(attempt, now, time.perf_counter(), time.process_time(), settings)

    def told(self, part: str, outcome: str, note: str) -> dict[str, Any]:
        """Return what a record says of any attempt that began then and ends now."""
        return {
            "schema": SCHEMA,
            "part": part,
            "attempt": self.attempt,
            "outcome": outcome,
            "note": note,
            "started": _iso(self.time),
            "ended": _iso(datetime.now(UTC)),
            "wall_s": round(time.perf_counter() - self.clock_s, 4),
            "cpu_s": round(time.process_time() - self.cpu_s, 4),
            "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT,
            "command": list(sys.orig_argv),
            "settings": self.settings,
            **process_facts(),
            "machine": machine_facts("torch" in sys.modules),
            "copied_from": None,
            "inputs": {},
            "outputs": {},
        }


_CUT_OFF = "ended after this was written and before the last of its files"
_MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024


def _keep(folder: Path, record: Mapping[str, Any]) -> None:
    """Write a record to its place."""
    path, content = _placed(folder, record)
    write_in_order(folder, {path: content})


def _placed(folder: Path, record: Mapping[str, Any]) -> tuple[str, bytes]:
    """Return the path in a folder and the content of a record, and make room for it.

    It belongs where that of the present files stands, or beside it if the attempt has made none.
    """
    (folder / FOLDER).mkdir(exist_ok=True)
    name = record["part"]
    if record["outcome"] == "completed":
        _set_aside(folder / FOLDER / f"{name}.json")
    else:
        name = f"{name}-{record['attempt']}"
    return f"{FOLDER}/{name}.json", _spelled(record)


def _set_aside(current: Path) -> None:
    """Keep the record of an earlier attempt under its own name.

    It was written before the last of the attempt's files. If that one never came, the attempt has failed.
    """
    with contextlib.suppress(FileNotFoundError):
        is_completed = True
        try:
            record = json.loads(current.read_bytes())
            attempt = re.sub(r"[^\w-]", "", str(record["attempt"]))
            is_completed = not any(
                was_cut_off(current.parent.parent / name, content, host=record["host"])
                for name, content in record["outputs"].items()
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            attempt = f"unreadable-{os.urandom(3).hex()}"
        aside = current.with_name(f"{current.stem}-{attempt}.json")
        if is_completed and not aside.exists():
            current.rename(aside)
            return
        # What is there already tells of the same attempt that it failed.
        if not aside.exists():
            write_atomically(aside, _spelled(record | {"outcome": "failed", "note": _CUT_OFF, "outputs": {}}))
        current.unlink()


def _hashes(folder: Path, files: Iterable[str]) -> dict[str, str]:
    return {name: sha256((folder / name).read_bytes()) for name in files if (folder / name).exists()}


def _record(folder: Path, part: str) -> dict[str, Any]:
    """Return the record of a part, which says what it is about; nothing if it can't be read."""
    try:
        record = json.loads((folder / (results.TRAIN_RECORD if part == "train" else f"{part}.json")).read_bytes())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _inputs(record: dict[str, Any], part: str) -> dict[str, Any]:
    """Return the configuration, the hashes of the data and, of an attack, that of the network."""
    names = ("config", "data_sha256") if part == "train" else ("config", "data_sha256", "model_sha256")
    return {name: record.get(name) for name in names} if record else {}


def _spelled(record: Mapping[str, Any]) -> bytes:
    """Return a record as JSON with a line for each entry: as easy to read as an indented one, and quicker to write."""
    lines = (f"  {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in record.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
