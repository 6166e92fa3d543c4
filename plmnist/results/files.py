"""Files: written whole or not at all, as JSON with one spelling, known by their SHA-256."""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from plmnist.errors import ResultError

__all__ = [
    "Write",
    "json_bytes",
    "load_json",
    "load_verified",
    "sha256",
    "was_cut_off",
    "write_atomically",
    "write_in_order",
]

Write = Callable[[Path, Mapping[str, bytes]], None]
"""Writes files of a folder in their order; :func:`write_in_order` is one."""


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the whole new one, also after a crash."""
    write_in_order(path.parent, {path.name: content})


def write_in_order(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of a folder, each whole or not at all, and none is seen before those that come before it.

    Names may lead into folders in it. All contents are on the disk before the first name changes, so that the folder is
    flushed once.
    """
    host, pid = os.uname().nodename, os.getpid()
    paths = [folder / name for name in contents]
    for place in {path.parent for path in paths}:
        _remove_leftovers(place, tuple(f".{path.name}.{host}." for path in paths if path.parent == place))
    temporary = [path.with_name(f".{path.name}.{host}.{pid}.tmp") for path in paths]
    try:
        for path, content in zip(temporary, contents.values(), strict=True):
            with open(path, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        for before, after in zip(temporary, paths, strict=True):
            os.replace(before, after)
            if after.parent != folder:
                _flush(after.parent)
    except BaseException:
        for path in temporary:
            path.unlink(missing_ok=True)
        raise
    _flush(folder)


def was_cut_off(path: Path, content_sha256: str, *, host: str) -> bool:
    """Return whether a process of a host was killed after it had written a file and before the file got its name."""
    for written in path.parent.glob(f".{glob.escape(f'{path.name}.{host}')}.*.tmp"):
        with contextlib.suppress(FileNotFoundError):  # another process has taken it away
            if sha256(written.read_bytes()) == content_sha256:
                return True
    return False


def _flush(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove_leftovers(folder: Path, prefixes: tuple[str, ...]) -> None:
    """Delete temporary files of processes of this host that were killed."""
    for name in os.listdir(folder):
        if name.endswith(".tmp") and name.startswith(prefixes):
            pid = name.removesuffix(".tmp").rpartition(".")[2]
            if pid.isdigit() and not _is_alive(int(pid)):
                (folder / name).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A killed process keeps its number until its parent asks for it; in a container there may be nobody who does.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True


def load_json(path: Path, *, hint: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultError(f"{path} does not exist", hint=hint) from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ResultError(f"{path} is not valid JSON: {error}", hint="Mend or remove the file.") from error


def load_verified(path: Path, expected: str | None, *, called: str, hint: str) -> bytes:
    """Return the content of a file whose SHA-256 a record names; `called` says what it should be."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    if (found := sha256(content)) != expected:
        raise ResultError(
            f"{path} is not {called}: its SHA-256 is {found}, expected {expected}", hint=f"{hint} --force"
        )
    return content


def json_bytes(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
    # Lists of whole numbers, such as the rows of a matrix, on one line. No string holds a line break as it is.
    return (re.sub(r"\[\n[\d\s,]+\]", _on_one_line, text) + "\n").encode()


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{', '.join(found.group()[1:-1].replace(',', ' ').split())}]"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
