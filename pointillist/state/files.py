"""Files written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile


def write_whole(path: str, content: bytes) -> None:
    """Write a file so that at any moment, also after a crash, it has its old content or all of the new.

    Raises
    ------
    OSError
        When the folder can't be written; the old file is as it was.
    """
    folder = os.path.dirname(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
