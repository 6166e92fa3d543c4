"""Which code a study has: a failed task is worth another try when it has changed."""

from __future__ import annotations

import contextlib
import hashlib
import os


def code_version(root: str) -> str:
    """Return a hash of the Python files of a study: in its folder, and in the folders beside the workspace."""
    digest = hashlib.sha1(usedforsecurity=False)
    folders = [root]
    with os.scandir(root) as entries:
        folders += sorted(e.path for e in entries if e.is_dir() and e.name[0] != "." and e.name != "workspace")
    for folder in folders:
        with contextlib.suppress(OSError):
            for name in sorted(name for name in os.listdir(folder) if name.endswith(".py")):
                with open(os.path.join(folder, name), "rb") as file:
                    digest.update(file.read())
    return digest.hexdigest()
