"""Files: written whole or not at all, as JSON with one spelling, known by their SHA-256."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plmnist.errors import ResultError

__all__ = ["json_bytes", "load_json", "sha256", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the whole new one, also after a crash."""
    host, prefix = os.uname().nodename, f".{path.name}."
    _remove_leftovers(path.parent, prefix, host)
    temporary = path.with_name(f"{prefix}{host}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_leftovers(folder: Path, prefix: str, host: str) -> None:
    """Delete temporary files of processes of this host that were killed."""
    for name in os.listdir(folder):
        if name.startswith(prefix + host + ".") and name.endswith(".tmp"):
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


def json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
