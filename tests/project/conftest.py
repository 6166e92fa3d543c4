"""Copies of the study, a workspace that is done, and a browser."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The modules of the study call each other src.something, as they do when it runs.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "project"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from chromium import PACKAGES, PROGRAMS, Browser
from debian import ProgramsMissing, find_or_install
from study_copy import StudyCopy, copy_study


@pytest.fixture
def make_copy(tmp_path: Path) -> Callable[..., StudyCopy]:
    """Return a factory of copies: ``make_copy("name")``; by default with the tutorial's 18 points alone."""
    return lambda name="study", *, adversarial=False: copy_study(tmp_path / name, adversarial=adversarial)


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
    from pointillist.definition.grid import statepoint_id

    workspace = tmp_path_factory.mktemp("finished") / "workspace"
    base = {"dataset": "digits", "batch_size": 64, "hidden_size": 16, "learning_rate": 2e-3, "fgsm_epsilon": 0.1}
    for dropout, training, seed in (
        *((dropout, {}, seed) for dropout in (0.0, 0.5) for seed in (1, 2)),
        *((0.0, {"training": "pgd", "training_epsilon": 0.1}, seed) for seed in (1, 2)),
    ):
        point = base | {"dropout_prob": dropout, "seed": seed, "num_epochs": 3} | training
        mapping = Configuration.from_mapping(point).to_mapping()
        folder = workspace / statepoint_id(mapping)
        folder.mkdir(parents=True)
        (folder / "signac_statepoint.json").write_text(json.dumps(mapping))
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
