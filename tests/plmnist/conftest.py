"""Data sets and configurations for the tests of the science package."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from plmnist.config import Configuration
from plmnist.data import DATA_DIR_VARIABLE, ImageSet, load_test, load_train
from plmnist.training import TrainingData, prepare_data

BASE: dict[str, Any] = {
    "dataset": "digits",
    "num_epochs": 2,
    "batch_size": 64,
    "hidden_size": 16,
    "learning_rate": 2e-3,
    "dropout_prob": 0.1,
    "fgsm_epsilon": 0.05,
    "seed": 1,
}

# Read before any test changes the environment.
_PROVIDED = os.environ.get(DATA_DIR_VARIABLE, "")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)


@pytest.fixture(scope="session")
def make_mapping() -> Callable[..., dict[str, Any]]:
    """Return a function that makes a full mapping from the entries that matter."""
    return lambda **changes: {**BASE, **changes}


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Configuration]:
    """Return a function that makes a configuration from the entries that matter."""
    return lambda **changes: Configuration.from_mapping({**BASE, **changes})


@pytest.fixture(scope="session")
def digits() -> TrainingData:
    return prepare_data("digits")


@pytest.fixture(scope="session")
def mnist_dir() -> Path:
    """Folder with the real MNIST files; tests that need it are skipped where there is none."""
    checkout = Path(__file__).resolve().parents[2]
    candidates = [Path(_PROVIDED)] if _PROVIDED else []
    candidates.append(checkout.parent / "shared" / "data" / "mnist")
    for folder in candidates:
        for place in (folder, folder / "mnist"):
            if (place / "train-images-idx3-ubyte.gz").exists() or (place / "train-images-idx3-ubyte").exists():
                return folder
    pytest.skip(f"no MNIST files: set {DATA_DIR_VARIABLE} to a folder that has them")


@pytest.fixture(scope="session")
def mnist(mnist_dir: Path) -> TrainingData:
    return TrainingData(load_train("mnist", mnist_dir), load_test("mnist", mnist_dir))


@pytest.fixture(scope="session")
def mnist_slice(mnist: TrainingData) -> TrainingData:
    """The first 3,000 training and 1,000 test images of MNIST."""

    def first(images: ImageSet, n: int) -> ImageSet:
        return ImageSet(images.images[:n], images.labels[:n], images.full_scale)

    return TrainingData(first(mnist.train, 3000), first(mnist.test, 1000))
