"""However a network comes about, its files have the same bytes: through the study, the shell or Python, alone or in any
batch and order, killed or undisturbed. Compared is every byte of every result file."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from patience import until

from plmnist import results
from plmnist.batch import attack_folders
from plmnist.training import prepare_data, train

STATE_POINT = "signac_statepoint.json"
GRID = (
    ("num_epochs=[5, 20]", "num_epochs=[1, 3]"),
    ("dropout_prob=[0.0, 0.1, 0.5]", "dropout_prob=[0.0, 0.5]"),
    ("seed=[1, 2, 3]", "seed=[1, 2]"),
)
TRAINED = (results.MODEL, results.HISTORY, results.TRAIN_RECORD)
ATTACKED = (results.EXAMPLES, results.FIGURE, results.ATTACK_RECORD)


@pytest.fixture
def make_study(make_copy):
    def make(name: str):
        study = make_copy(name)
        for change in GRID:
            study.change("init.py", *change)
        assert "8 new jobs" in study.python("init.py")
        return study

    return make


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folders of eight jobs, trained by one process and attacked by another, in order."""
    root = tmp_path_factory.mktemp("reference")
    for epochs in (1, 3):
        for dropout in (0.0, 0.5):
            for seed in (1, 2):
                folder = root / f"{epochs}-{dropout}-{seed}"
                folder.mkdir()
                point = {
                    "dataset": "digits", "num_epochs": epochs, "batch_size": 32, "hidden_size": 64,
                    "learning_rate": 1e-3, "dropout_prob": dropout, "fgsm_epsilon": 0.1, "seed": seed,
                }  # fmt: skip
                (folder / STATE_POINT).write_text(json.dumps(point))
    for command in ("train", "attack"):
        plmnist(command, sorted(root.iterdir()))
    return root


def plmnist(command: str, folders: Sequence[Path], *options: str) -> str:
    words = [sys.executable, "-m", "plmnist", command, "--config-name", STATE_POINT, *options, *map(str, folders)]
    result = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment())
    assert result.returncode == 0, result.stdout
    return result.stdout


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PLMNIST_")}


def copies(reference: Path, target: Path) -> list[Path]:
    """Make folders with the state points of the reference and nothing else."""
    folders = []
    for source in sorted(reference.iterdir()):
        folder = target / source.name
        folder.mkdir(parents=True)
        shutil.copy(source / STATE_POINT, folder)
        folders.append(folder)
    return folders


def files(root: Path) -> dict[tuple[object, str], bytes]:
    """Return the bytes of all files that lie in the folders, by state point and name."""
    found: dict[tuple[object, str], bytes] = {}
    for folder in root.iterdir():
        point = json.loads((folder / STATE_POINT).read_text())
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("signac"):
                found[tuple(sorted(point.items())), path.name] = path.read_bytes()
    return found


def test_folders_alone_in_their_process_in_batches_and_in_any_order(reference, tmp_path):
    shuffled = copies(reference, tmp_path / "shuffled")
    random.Random(7).shuffle(shuffled)
    for group in (shuffled[:1], shuffled[1:3], shuffled[3:]):
        plmnist("train", group)
    for group in (shuffled[6:], shuffled[5:6], shuffled[4::-1]):
        plmnist("attack", group)
    found = files(tmp_path / "shuffled")
    assert len(found) == 8 * len(TRAINED + ATTACKED)
    assert found == files(reference)


def test_lightning_s_trainer(reference, tmp_path):
    folders = copies(reference, tmp_path / "lightning")
    plmnist("train", folders, "--engine", "lightning")
    expected = {key: content for key, content in files(reference).items() if key[1] in TRAINED}
    assert files(tmp_path / "lightning") == expected


def test_functions_of_the_package_in_a_process_that_does_other_things_too(reference, tmp_path):
    folders = copies(reference, tmp_path / "python")
    data = prepare_data("digits")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for folder in reversed(folders):
            config = results.read_config(folder / STATE_POINT)
            torch.manual_seed(len(folder.name))
            trained = train(config, data=data)
            results.save_training(folder, results.TrainFiles.of(trained))
            torch.rand(100)
            failures: list[Exception] = []
            attack_folders([str(folder)], Listener(failures), config_name=STATE_POINT)
            assert not failures
    finally:
        torch.set_num_threads(threads)
    assert files(tmp_path / "python") == files(reference)


def test_command_killed_again_and_again(reference, tmp_path, kill_tree):
    folders = copies(reference, tmp_path / "killed")
    for command, record, moments in (("train", results.TRAIN_RECORD, (1, 4)), ("attack", results.ATTACK_RECORD, (2,))):
        for n_done in moments:
            words = [sys.executable, "-m", "plmnist", command, "--config-name", STATE_POINT, *map(str, folders)]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment())
            wait_until(lambda n=n_done, name=record: count(tmp_path / "killed", name) >= n, process)
            kill_tree(process)
            assert count(tmp_path / "killed", record) >= n_done
        plmnist(command, folders)
    assert files(tmp_path / "killed") == files(reference)


def test_study_in_series_parallel_in_small_batches_and_from_python(reference, make_study):
    serial, parallel, python = make_study("serial"), make_study("parallel"), make_study("python")
    serial.python("project.py", "run")
    parallel.change("project.py", "batch=True", "batch=3")
    parallel.python("project.py", "run", "--parallel", "3")
    (python.path / "drive.py").write_text(
        "import project\nproject.Project.get_project(project.HERE).run(order='random')\n"
    )
    python.python("drive.py")
    # Table, figures and report as well, and whatever else the parts have made.
    assert serial.results() == parallel.results() == python.results()
    expected = files(reference)
    found = files(serial.path / "workspace")
    assert {key: content for key, content in found.items() if key in expected} == expected


def test_a_difference_would_be_seen(reference, tmp_path):
    folders = copies(reference, tmp_path / "other")
    shutil.copytree(reference, tmp_path / "other", dirs_exist_ok=True)
    assert files(tmp_path / "other") == files(reference)
    model = folders[3] / results.MODEL
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    assert files(tmp_path / "other") != files(reference)


class Listener:
    def __init__(self, failures: list[Exception]) -> None:
        self._failures = failures

    def started(self, folder: str) -> None:
        pass

    def done(self, folder: str, summary: str) -> None:
        pass

    def failed(self, folder: str, error: Exception) -> None:
        self._failures.append(error)


def count(root: Path, name: str) -> int:
    return len(list(root.glob(f"*/{name}")))


def wait_until(is_reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    until(lambda: is_reached() or process.poll() is not None, 120, every_s=0.005)
