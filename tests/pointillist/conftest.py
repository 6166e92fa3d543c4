"""Factories: real signac workspaces with a project file of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import signac


@dataclass
class Study:
    """A signac project on disk with a ``project.py``, driven through its command line as a user would."""

    path: Path

    def make_jobs(self, *statepoints: dict[str, Any]) -> list[str]:
        """Make jobs and return their ids, sorted as the engine sorts them."""
        project = signac.init_project(self.path)
        for statepoint in statepoints:
            project.open_job(statepoint).init()
        return sorted(job.id for job in project)

    def write_project(self, body: str) -> None:
        """Write ``project.py``; ``body`` declares operations on the class ``Project``."""
        text = "from pointillist import *\nclass Project(FlowProject): pass\n" + textwrap.dedent(body)
        (self.path / "project.py").write_text(text + "\nif __name__ == '__main__':\n    Project.get_project().main()\n")

    def job(self, job_id: str) -> Path:
        """Return a job's folder."""
        return self.path / "workspace" / job_id

    def command(self, *arguments: str) -> list[str]:
        """Return the words that run the project's command line."""
        return [sys.executable, str(self.path / "project.py"), *arguments]

    def cli(self, *arguments: str, check: int | None = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run the project's command line; ``check`` is the exit code that must come back."""
        options.setdefault("cwd", self.path)
        result = subprocess.run(self.command(*arguments), capture_output=True, text=True, timeout=120, **options)
        if check is not None:
            assert result.returncode == check, f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}"
        return result

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start the project's command line and return at once."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )


@pytest.fixture
def make_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Study]:
    """Return a factory of studies: ``make_study(body, *statepoints, name="study")``."""
    for variable in [name for name in os.environ if name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")]:
        monkeypatch.delenv(variable)

    def make(body: str = "", *statepoints: dict[str, Any], name: str = "study") -> Study:
        study = Study(tmp_path / name)
        study.path.mkdir(parents=True)
        signac.init_project(study.path)
        study.write_project(body)
        study.make_jobs(*statepoints)
        return study

    return make


@pytest.fixture
def engine() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a folder and expect an exit code: ``engine(folder, *words, check=0)``."""

    def run(folder: Path, *words: str, check: int = 0) -> subprocess.CompletedProcess[str]:
        result = subprocess.run([sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=60)
        assert result.returncode == check, result.stdout + result.stderr
        return result

    return run


@pytest.fixture
def workspace(tmp_path: Path) -> signac.Project:
    """Return a signac project of three jobs, ``x`` from 0 to 2."""
    project = signac.init_project(tmp_path)
    for x in range(3):
        project.open_job({"x": x}).init()
    return project
