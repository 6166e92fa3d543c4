"""A copy of a project in a folder of its own, with chosen jobs that nothing has been done for yet."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from pointillist.definition.elsewhere import Reproduction, matches
from pointillist.definition.grid import STATEPOINT
from pointillist.errors import PointillistError

LEFT_BEHIND = frozenset(
    {
        "workspace",
        ".pointillist",
        ".git",
        ".venv",
        "__pycache__",
        "signac_project_document.json",
        ".signac_sp_cache.json.gz",
    }
)
"""Results, the engine's own files, and what is no part of a study."""

Stamps = dict[str, tuple[int, int, int]]


@dataclass(frozen=True)
class Scratch:
    """The copy, driven through its command line as a user would.

    Parameters
    ----------
    path
        Its folder.
    words
        The words that run its command line.
    """

    path: Path
    words: tuple[str, ...]

    def job(self, job_id: str) -> Path:
        """Return the folder of a job."""
        return self.path / "workspace" / job_id

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the project there and return how it ended and what it said."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POINTILLIST_")}
        return subprocess.run(
            [*self.words, *arguments],
            cwd=self.path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )


def make_scratch(root: Path, entrypoint: Path, job_ids: Iterable[str], declared: Reproduction, target: Path) -> Scratch:
    """Copy a project without its results, link what is shared, and make jobs there.

    Parameters
    ----------
    root
        The folder of the project.
    entrypoint
        Its project file.
    job_ids
        The jobs to make; their state points are copied, and of their folders what is declared as input.
    declared
        What the study says about being made again.
    target
        An empty folder.

    Raises
    ------
    PointillistError
        When the project file lies outside of the project, so that a copy would run the original.
    """
    root, entrypoint = root.resolve(), entrypoint.resolve()
    if not entrypoint.is_file() or not entrypoint.is_relative_to(root):
        raise PointillistError(
            f"The project file {entrypoint} does not lie in the folder of the project, {root}.",
            hint="A copy of the project is run by its own project file: put it there.",
        )
    _copy(root, target, root, declared)
    for name in declared.share:
        if (root / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).symlink_to(root / name)
    for job_id in job_ids:
        original, folder = root / "workspace" / job_id, target / "workspace" / job_id
        folder.mkdir(parents=True)
        for name in files_in(original):
            if name == STATEPOINT or matches(name, declared.inputs):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(original / name, folder / name)
    return Scratch(target, (sys.executable, str(target / entrypoint.relative_to(root))))


def files_in(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, relative and with slashes, sorted."""
    found = []
    for place, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(place, name), folder).replace(os.sep, "/") for name in names]
    return sorted(found)


def stamps_in(folder: Path) -> Stamps:
    """Return what changes whenever one of the files below a folder is written."""
    stamps = {}
    for name in files_in(folder):
        stat = (folder / name).lstat()
        stamps[name] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    return stamps


def _copy(folder: Path, target: Path, root: Path, declared: Reproduction) -> None:
    """Copy what a study is made of. A link keeps its meaning: within the project, or to a place outside of it."""
    target.mkdir(parents=True, exist_ok=True)
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        name = path.relative_to(root).as_posix()
        if _stays(entry.name, name, declared.share, declared.made):
            continue
        if entry.is_symlink():
            end = path.resolve()
            (target / entry.name).symlink_to(os.readlink(path) if end.is_relative_to(root) else end)
        elif entry.is_dir():
            _copy(path, target / entry.name, root, declared)
        elif entry.is_file():
            shutil.copy2(path, target / entry.name)


def _stays(name: str, path: str, share: Collection[str], made: Iterable[str]) -> bool:
    return name in LEFT_BEHIND or path in share or matches(path, made)
