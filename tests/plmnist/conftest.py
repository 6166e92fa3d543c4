"""Data sets and configurations for the tests of the science package."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from plmnist.config import Configuration
from plmnist.data import DATA_DIR_VARIABLE, ImageSet, load_test, load_train
from plmnist.model import Network
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


@pytest.fixture(scope="session")
def left_alone() -> Callable[[Network], AbstractContextManager[Network]]:
    """Return a context that gives a copy of a network with a past, and sees that it comes back as it was."""

    @contextmanager
    def check(original: Network) -> Iterator[Network]:
        network = copy.deepcopy(original)
        network.train()
        network.layer2.eval()
        network.layer1.weight.grad = torch.ones_like(network.layer1.weight)
        before = copy.deepcopy(network.state_dict())
        modes = [module.training for module in network.modules()]
        torch.manual_seed(3)
        state = torch.get_rng_state()
        yield network
        assert torch.equal(torch.get_rng_state(), state)
        assert [module.training for module in network.modules()] == modes
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        assert torch.equal(network.layer1.weight.grad, torch.ones_like(network.layer1.weight))
        assert network.layer2.weight.grad is None
        assert all(parameter.requires_grad for parameter in network.parameters())
        assert network.layer1.weight.dtype == torch.float32

    return check
