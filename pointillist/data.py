"""The signac face of a project: it stands for a signac project without being one.

signac is imported only when somebody asks for something of signac's, because reading the status of a study does not
need it. Jobs opened here name the project they were opened from, so that ``job.project`` is of use in an operation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Self

from pointillist.errors import ProjectNotFoundError


class DataSpace:
    """The jobs of a signac project; whatever a ``signac.Project`` can do, it can do too.

    Parameters
    ----------
    path
        The folder of the signac project; by default the current folder.

    Raises
    ------
    ProjectNotFoundError
        When there is no signac project at ``path``.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self._path = os.path.abspath(os.fspath(path) if path is not None else os.getcwd())
        if not _is_project(self._path):
            raise ProjectNotFoundError(
                f"There is no signac project in {self._path}.",
                hint=_where_else(self._path),
            )

    @classmethod
    def get_project(cls, path: str | os.PathLike[str] | None = None, search: bool = True, **kwargs: Any) -> Self:
        """Return the project at ``path``, or, with ``search``, in the nearest folder above it."""
        start = folder = os.path.abspath(os.fspath(path) if path is not None else os.getcwd())
        while search and not _is_project(folder):
            parent = os.path.dirname(folder)
            if parent == folder:
                folder = start
                break
            folder = parent
        return cls(folder, **kwargs)

    @classmethod
    def init_project(cls, path: str | os.PathLike[str] | None = None) -> Self:
        """Make a signac project at ``path`` where there is none, and return it."""
        import signac

        return cls(signac.init_project(path).path)

    @property
    def path(self) -> str:
        """The folder of the project."""
        return self._path

    @property
    def workspace(self) -> str:
        """The folder with the job folders."""
        return os.path.join(self._path, "workspace")

    @cached_property
    def signac_project(self) -> Any:
        """The signac project that this one stands for."""
        import signac

        owner = self

        class SignacProject(signac.Project):  # type: ignore[misc]
            """A signac project whose jobs name ``owner`` as their project."""

            def open_job(self, *args: Any, **kwargs: Any) -> Any:
                job = super().open_job(*args, **kwargs)
                job._project = owner
                return job

            def find_jobs(self, *args: Any, **kwargs: Any) -> Any:
                cursor = super().find_jobs(*args, **kwargs)
                cursor._project = owner
                return cursor

            def __reduce__(self) -> tuple[Any, ...]:
                return signac.Project, (self.path,)

        return SignacProject(self._path)

    def _open_job(self, statepoint: dict[str, Any], job_id: str) -> Any:
        project = self.signac_project
        # Known to signac from here on: opening a job does not read its state point a second time.
        project._sp_cache[job_id] = statepoint
        return self.open_job(id=job_id)

    def open_job(self, statepoint: dict[str, Any] | None = None, id: str | None = None) -> Any:
        """Return the signac job of a state point or an id; the engine opens its jobs here too."""
        return self.signac_project.open_job(statepoint, id)

    def find_jobs(self, *args: Any, **kwargs: Any) -> Any:
        """Return the signac jobs that match a filter."""
        return self.signac_project.find_jobs(*args, **kwargs)

    @classmethod
    def get_job(cls, path: str | os.PathLike[str] | None = None) -> Any:
        """Return the signac job whose folder, or one above it, is ``path``; by default the current folder."""
        import signac

        return signac.Project.get_job(path)

    @property
    def document(self) -> Any:
        """The project document."""
        return self.signac_project.document

    @document.setter
    def document(self, value: Any) -> None:
        self.signac_project.document = value

    doc = document

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that this class does not have.
        if name.startswith("__") or "_path" not in self.__dict__:
            raise AttributeError(name)
        try:
            return getattr(self.signac_project, name)
        except AttributeError:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}") from None

    def __iter__(self) -> Iterator[Any]:
        return iter(self.signac_project)

    def __len__(self) -> int:
        return len(self.signac_project)

    def __contains__(self, job: Any) -> bool:
        return job in self.signac_project

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._path!r})"

    def __str__(self) -> str:
        return self._path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataSpace) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(self._path)


def _is_project(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, ".signac", "config"))


def _where_else(folder: str) -> str:
    """Say what to do where there is no project: the program that asks may lie in one."""
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    home, name = os.path.split(os.path.realpath(program)) if program else (folder, "")
    if home != folder and _is_project(home):
        return f"{name} lies in one: change to {home}, or end {name} with Project.main(), which finds it from anywhere."
    return "Make one with init.py, with signac.init_project() or with `signac init`."
