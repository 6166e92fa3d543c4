"""Which files make up a study, for its archive."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pointillist.definition.elsewhere import matches
from pointillist.errors import EXIT_FAILED, PointillistError
from pointillist.sharing.crate import METADATA, about_study, metadata
from pointillist.sharing.packing import MANIFEST, Content, pack, suffix_of
from pointillist.state.tasks import State
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.study import Study

LEFT_OUT = (".git", ".venv", "__pycache__", ".signac_sp_cache.json.gz", METADATA, MANIFEST)
HISTORY = ("journal", "logs", "reproductions")
"""What of the engine's own folder goes along; the rest is about this place and moment."""


@dataclass
class Collected:
    """The files of an archive by path, and what stayed behind."""

    files: dict[str, Content] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    problems: dict[str, list[str]] = field(default_factory=dict)
    """What is wrong with job folders, by id."""
    has_author: bool = True


class DamagedError(PointillistError):
    """Job folders are not what their records say."""

    exit_code = EXIT_FAILED

    def __init__(self, problems: Mapping[str, Sequence[str]]) -> None:
        job_id, sentences = next(iter(problems.items()))
        jobs = f"{len(problems)} jobs" if len(problems) > 1 else "One job"
        super().__init__(
            f"{jobs} can't be vouched for: {job_id}: {sentences[0]}",
            hint="Remove what is damaged and run again, or pack everything as it is: --force.",
        )
        self.problems = problems


def export(project: Study, path: Path, *, damaged: bool = False) -> Collected:
    """Write the archive of a project.

    Parameters
    ----------
    project
        The project.
    path
        The archive to write.
    damaged
        Write it even if job folders are not what their records say.

    Raises
    ------
    DamagedError
        When job folders are not what their records say, as far as the study knows how to tell.
    PointillistError
        When tasks are running, when ``rocrate`` is not installed, when something is in the way.
    """
    suffix_of(path)
    plan = project.plan()
    running = [task for task in plan.tasks() if plan.state(task) is State.RUNNING]
    if running:
        raise PointillistError(
            f"{counted(len(running), 'task is', 'tasks are')} running; the first is {running[0]}.",
            hint="An archive made now could hold half of their results. Wait for them.",
        )
    root, declared = Path(project.path), project.archive
    entrypoint = os.path.relpath(
        os.path.realpath(project._entrypoint.get("path", "project.py")), os.path.realpath(root)
    )
    collected = Collected(problems=problems_of(plan.workspace.job_ids, root, project.reproduction.verify))
    if collected.problems and not damaged:
        raise DamagedError(collected.problems)
    collect(root, (*project.reproduction.share, *declared.leave_out), collected)
    collected.files.pop(os.path.relpath(path.absolute(), root), None)
    for name, content in (declared.files(root) if declared.files else {}).items():
        collected.files[name] = content
    about = about_study(root, declared)
    collected.has_author = bool(about.get("author"))
    collected.files[METADATA] = metadata(
        plan, root, collected.files, declared, about=about, entrypoint=entrypoint, code_version=project._code_version
    )
    pack(path, collected.files)
    return collected


def problems_of(
    job_ids: Iterable[str], root: Path, verify: Callable[[Path], Iterable[str]] | None
) -> dict[str, list[str]]:
    """Return what is wrong with job folders, by id, in sentences of the study."""
    if verify is None:
        return {}
    found = {job_id: list(verify(root / "workspace" / job_id)) for job_id in job_ids}
    return {job_id: sentences for job_id, sentences in found.items() if sentences}


def collect(root: Path, without: Iterable[str], into: Collected) -> None:
    """Collect the files of a project.

    Parameters
    ----------
    root
        Its folder.
    without
        Patterns of what stays behind. A link to a file becomes that file; a link to a folder stays behind.
    into
        Gets the files, and the names of what stays behind.
    """
    _walk(root, "", tuple(without), into)


def _walk(root: Path, prefix: str, patterns: tuple[str, ...], collected: Collected) -> None:
    for entry in sorted(os.scandir(root / prefix), key=lambda entry: entry.name):
        name = f"{prefix}{entry.name}"
        if entry.name in LEFT_OUT or entry.name.endswith(".tmp") or entry.name == ".lock":
            continue
        if prefix == ".pointillist/" and entry.name not in HISTORY:
            continue
        if matches(name, patterns) or (entry.is_symlink() and not entry.is_file()):
            collected.left_out.append(name)
        elif entry.is_dir():
            _walk(root, f"{name}/", patterns, collected)
        elif entry.is_file():
            collected.files[name] = Path(entry.path)
