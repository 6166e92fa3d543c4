"""A copy of the study in a folder of the test's own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# The modules of the study call each other src.something, as they do when it runs.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "project"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from chromium import PACKAGES, PROGRAMS, Browser
from debian import ProgramsMissing, find_or_install

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("init.py", "project.py", "hpc_setup.py", "src", "templates", "analysis", "README.md")
# The block of the report that tells of the run, and the size of the report in the list of its files.
ORIGIN = re.compile(rb"<!-- About the run.*?<!-- End of what is about the run|\"report.html\": \d+", re.DOTALL)
MADE_BY_A_RUN = shutil.ignore_patterns(
    "output*", "report.html", "measurements.*", "differences.*", "figures", ".lock", "__pycache__"
)


@dataclass
class StudyCopy:
    """The study at a path, driven as a user would."""

    path: Path

    def python(self, script: str, *arguments: str, check: int | None = 0, **options: object) -> str:
        """Run one of its scripts and return all that it printed."""
        environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PLMNIST_DATA_DIR")}
        result = subprocess.run(
            [sys.executable, str(self.path / script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            **({"cwd": self.path, "env": environment} | options),  # type: ignore[call-overload]
        )
        assert check is None or result.returncode == check, result.stdout
        return str(result.stdout)

    def change(self, filename: str, old: str, new: str) -> None:
        """Edit one of its files, as a user would."""
        text = (self.path / filename).read_text()
        assert old in text
        (self.path / filename).write_text(text.replace(old, new))

    def table(self) -> list[dict[str, str]]:
        """Return the table as a list of rows."""
        lines = (self.path / "analysis/output_avg_std_of_seed_txt_filename.txt").read_text().splitlines()
        names = lines[0].split()
        return [dict(zip(names, line.split(), strict=True)) for line in lines[1:]]

    def results(self) -> dict[str, bytes]:
        """Return the bytes of every file a run has made, by path; left out is what tells of times and places."""
        return {
            str(path.relative_to(self.path)): ORIGIN.sub(b"", path.read_bytes())
            for folder in ("workspace", "analysis")
            for path in sorted((self.path / folder).rglob("*"))
            if path.is_file() and path.name != ".lock" and path.parent.name != "provenance"
        }


@pytest.fixture
def make_copy(tmp_path: Path):
    """Return a factory of copies: ``make_copy("name")``; by default with the tutorial's 18 points alone."""

    def make(name: str = "study", *, adversarial: bool = False) -> StudyCopy:
        target = tmp_path / name
        target.mkdir(parents=True)
        for part in PARTS:
            source = ROOT / "project" / part
            if source.is_dir():
                shutil.copytree(source, target / part, ignore=MADE_BY_A_RUN)
            else:
                shutil.copy(source, target / part)
        copy = StudyCopy(target)
        if not adversarial:
            copy.change("init.py", 'ADVERSARIAL = ["fgsm", "pgd"]', "ADVERSARIAL = []")
        return copy

    return make


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium for the whole session."""
    try:
        find_or_install(PROGRAMS, PACKAGES)
    except ProgramsMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs a real Chromium: {missing}")
        pytest.skip(f"no real Chromium: {missing}")
    window = Browser()
    try:
        yield window
    finally:
        window.close()


class _Loud:
    """Lets nothing fail unnoticed."""

    def started(self, folder: str) -> None:
        pass

    def done(self, folder: str, summary: str) -> None:
        pass

    def failed(self, folder: str, error: Exception) -> None:
        raise error


@pytest.fixture
def loud() -> _Loud:
    """A listener that raises what went wrong."""
    return _Loud()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which all parts are done: two seeds, two dropouts, and adversarial training for one of them."""
    from plmnist.batch import attack_folders, check_folders, train_folders
    from plmnist.config import Configuration

    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    base = {"dataset": "digits", "batch_size": 64, "hidden_size": 16, "learning_rate": 2e-3, "fgsm_epsilon": 0.1}
    for dropout, training, seed in (
        *((dropout, {}, seed) for dropout in (0.0, 0.5) for seed in (1, 2)),
        *((0.0, {"training": "pgd", "training_epsilon": 0.1}, seed) for seed in (1, 2)),
    ):
        point = base | {"dropout_prob": dropout, "seed": seed, "num_epochs": 3} | training
        text = json.dumps(Configuration.from_mapping(point).to_mapping())
        folder = workspace / hashlib.md5(text.encode()).hexdigest()
        folder.mkdir(parents=True)
        (folder / "signac_statepoint.json").write_text(text)
    folders = [str(folder) for folder in workspace.iterdir()]
    train_folders(folders, _Loud(), config_name="signac_statepoint.json")
    settings = {"pgd": {"steps": 5, "step_size": 0.5}}
    attacks = ["fgsm", "noise", "pgd"]
    attack_folders(folders, _Loud(), config_name="signac_statepoint.json", attacks=attacks, settings=settings)
    check_folders(folders, _Loud())
    return workspace


@pytest.fixture
def workspace(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished workspace, to be changed."""
    return Path(shutil.copytree(finished, tmp_path / "workspace"))


@pytest.fixture
def kill_tree():
    """Return a function that kills a process and all it has started, with SIGKILL."""
    return _kill_tree


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    import psutil

    if process.poll() is None:
        # Stopped first, so that it starts nothing while it is looked at.
        process.send_signal(signal.SIGSTOP)
        for member in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
    process.wait()
