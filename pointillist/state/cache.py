"""Files in which the engine remembers between commands: written whole or not at all, and believed only when whole.

A cache is an accelerator. One that is missing, damaged, or written by another version of the engine or of Python is the
same as none; one that can't be written is no error. What it holds is plain data in Python's own binary form.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import sys
import zlib
from typing import Any

VERSION = 2
OFF_VARIABLE = "POINTILLIST_NO_CACHE"
"""When this variable of the environment is set, nothing is remembered between commands."""

_MAGIC = f"pointillist {VERSION} {sys.implementation.cache_tag} {os.uname().machine} {sys.byteorder}\n".encode()


def load(path: str) -> Any:
    """Return what :func:`save` was given, or None."""
    try:
        with open(path, "rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                return None
            checksum = file.read(4)
            content = file.read()
    except OSError:
        return None
    # Only what the checksum vouches for is decoded: decoding garbage is not safe.
    if zlib.crc32(content).to_bytes(4, "big") != checksum:
        return None
    return marshal.loads(content)


def save(path: str, content: Any) -> None:
    """Write plain data to a file, in place of what is there; do nothing where that can't be done."""
    draft = f"{path}.{os.getpid()}"
    data = marshal.dumps(content)
    try:
        with open(draft, "wb") as file:
            file.writelines((_MAGIC, zlib.crc32(data).to_bytes(4, "big"), data))
        os.replace(draft, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(draft)


def present_ns(folder: str) -> int | None:
    """Return the present time in nanoseconds by the clock of the file system; None when it can't be told."""
    path = os.path.join(folder, "clock")
    try:
        os.makedirs(folder, exist_ok=True)
        with open(path, "wb") as file:
            os.utime(file.fileno())
            return os.fstat(file.fileno()).st_mtime_ns
    except OSError:
        return None
