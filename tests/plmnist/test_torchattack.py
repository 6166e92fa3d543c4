"""torchattack as an oracle beside foolbox: another library, written by others, on the same weights."""

from __future__ import annotations

import sys
from unittest.mock import MagicMock

import pytest
import torch

from plmnist.attacks import attack_images
from plmnist.perturbations import PGD, FastGradientSign
from plmnist.training import train


@pytest.fixture(scope="module")
def torchattack():
    """Import torchattack with nothing in the place of torchvision.

    torchattack imports torchvision for a wrapper of pretrained models and for attacks that resize or turn images. None
    is used here, and the real one would bring a second set of binaries that has to fit PyTorch to the last digit. The
    stand-in is there during these tests only, and what was imported with it is forgotten afterwards.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            patch.setitem(sys.modules, name, MagicMock())
        yield pytest.importorskip("torchattack", reason="torchattack is a test dependency")
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchattack"]:
            del sys.modules[name]


@pytest.fixture(scope="module", params=["mlp", "cnn"])
def network(digits, make_config, request):
    epochs = 15 if request.param == "mlp" else 5
    return train(make_config(network=request.param, num_epochs=epochs, hidden_size=32), data=digits).network


def survivors_of(attack, network, images) -> torch.Tensor:
    """Say which images stay right under an attack of the library, which gets the network in double precision."""
    pixels, labels = images.pixels(), images.labels
    altered = attack(pixels.double(), labels).detach().float()
    return (network(altered).argmax(1) == labels) & (network(pixels).argmax(1) == labels)


def survivors_of_ours(attack, network, images, epsilon: float) -> torch.Tensor:
    result = attack_images(network, images, [epsilon], attack)
    return (result.predictions[0] == images.labels) & (result.clean_predictions == images.labels)


@pytest.mark.parametrize("epsilon", [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3])
def test_the_same_images_withstand_fgsm(torchattack, network, digits, epsilon):
    theirs = torchattack.FGSM(network.folded(), device=torch.device("cpu"), eps=epsilon)
    found = survivors_of(theirs, network, digits.test)
    assert torch.equal(found, survivors_of_ours(FastGradientSign(), network, digits.test, epsilon))


@pytest.mark.parametrize("epsilon", [0.03, 0.06, 0.1])
def test_the_same_images_withstand_pgd(torchattack, network, digits, epsilon):
    theirs = torchattack.PGD(
        network.folded(), device=torch.device("cpu"), eps=epsilon, steps=20, alpha=epsilon / 8, random_start=False
    )
    found = survivors_of(theirs, network, digits.test)
    ours = PGD(steps=20, step_size=1 / 8, random_start=False)
    assert torch.equal(found, survivors_of_ours(ours, network, digits.test, epsilon))
