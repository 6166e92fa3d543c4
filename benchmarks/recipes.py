"""Trainings that others published numbers of, as they describe them: networks, optimisers, schedules.

plmnist offers one recipe, Adam at a constant rate. Its attacks can be set beside published numbers only on networks
that were trained as the published ones. These trainings are here, in plain PyTorch; the attacks are plmnist's. The
facts are those of the sources that each recipe names.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from plmnist.data import ImageSet
from plmnist.model import Normalisation, initialise
from plmnist.networks import build
from plmnist.training import TrainingData

MNIST_MEAN, MNIST_STD = 0.1307, 0.3081
"""What the published networks normalise with."""


@dataclass(frozen=True)
class Published:
    """A published number: the accuracy after an epoch, or under an attack of some size at the end."""

    value: float
    attack: str = "none"
    epsilon: float = 0.0
    epoch: int | None = None

    @property
    def name(self) -> str:
        """What it is, in words."""
        if self.attack == "none":
            return "accuracy" if self.epoch is None else f"accuracy after epoch {self.epoch}"
        return f"under {self.attack} at {self.epsilon:g}"


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a published network was trained, and what was published of it.

    Attributes
    ----------
    network
        Makes the untrained network for a seed; torch's random state has been seeded with it.
    optimiser
        Makes the optimiser of its parameters.
    rate
        Learning rate of the step that ends after some number of epochs, which need not be whole.
    alter
        What a step makes of its images before it learns from them, from network, pixels, labels and numbers between -1
        and 1; None leaves them alone.
    setting
        Length, optimiser, rate and batches, in words.
    fixed
        How many of the training images it learns from, drawn by the seed, in one order in all epochs; if None, it
        learns from all of them, in another order in each epoch.
    """

    key: str
    title: str
    source: str
    network: Callable[[int], nn.Module]
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    rate: Callable[[float], float]
    batch: int
    epochs: int
    published: tuple[Published, ...]
    setting: str
    alter: Callable[[nn.Module, Tensor, Tensor, Tensor], Tensor] | None = None
    fixed: int | None = None


def file_of(recipe: Recipe, seed: int, folder: Path) -> Path:
    """Return where a network is kept."""
    return folder / f"{recipe.key}-{seed}.safetensors"


def network_of(recipe: Recipe, seed: int, data: TrainingData, folder: Path) -> tuple[nn.Module, dict[int, float]]:
    """Return a trained network and its test accuracy after some epochs; train it if it is not in the folder."""
    file = file_of(recipe, seed, folder)
    network = _new(recipe, seed)
    if not file.exists():
        started = time.process_time()
        accuracies = _train(network, recipe, seed, data)
        about = {"accuracies": json.dumps(accuracies), "cpu_s": f"{time.process_time() - started:.0f}"}
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, file, about)
    with safe_open(file, "pt") as opened:
        about = opened.metadata()
    network.load_state_dict(load_file(file))
    return network.eval(), {int(epoch): acc for epoch, acc in json.loads(about["accuracies"]).items()}


def _new(recipe: Recipe, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return recipe.network(seed)


def _train(network: nn.Module, recipe: Recipe, seed: int, data: TrainingData) -> dict[int, float]:
    order_source, starts_source = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1000)
    optimiser = recipe.optimiser(network.parameters())
    due = {p.epoch for p in recipe.published if p.epoch} | {recipe.epochs}
    pictures, accuracies = data.train.pixels(), {}
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        if recipe.fixed is None or epoch == 1:
            order = torch.randperm(len(pictures), generator=order_source)[: recipe.fixed]
        batches = torch.split(order, recipe.batch)
        for i, rows in enumerate(batches, start=1):
            for group in optimiser.param_groups:
                group["lr"] = recipe.rate(epoch - 1 + i / len(batches))
            pixels, labels = pictures[rows], data.train.labels[rows]
            if recipe.alter is not None:
                starts = torch.rand(pixels.shape, generator=starts_source) * 2 - 1
                pixels = recipe.alter(network, pixels, labels, starts)
            loss = nn.functional.cross_entropy(network(pixels), labels)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
        if epoch in due:
            accuracies[epoch] = accuracy(network, data.test)
            print(f"{recipe.key}, seed {seed}, epoch {epoch}: {accuracies[epoch]:.4f}", flush=True)
    return accuracies


def accuracy(network: nn.Module, images: ImageSet) -> float:
    """Return the share of images classified correctly."""
    network.eval()
    with torch.inference_mode():
        answers = [network(pixels).argmax(1) for pixels in torch.split(images.pixels(), 500)]
    return float((torch.cat(answers) == images.labels).double().mean())


def _of_plmnist(name: str, hidden_size: int, dropout_prob: float) -> Callable[[int], nn.Module]:
    def network(seed: int) -> nn.Module:
        made = build(name, 28 * 28, hidden_size, dropout_prob, mean=MNIST_MEAN, std=MNIST_STD)
        initialise(made, seed)
        return made

    return network


TUTORIAL = Recipe(
    key="tutorial",
    title="network of PyTorch's FGSM tutorial",
    source="PyTorch tutorials, `beginner/fgsm_tutorial`, since 2023",
    setting="The network of examples/mnist: 14 epochs of Adadelta, rate 1 falling by 0.7 an epoch, batches of 64",
    network=_of_plmnist("cnn", 128, 0.5),
    optimiser=lambda parameters: torch.optim.Adadelta(parameters, lr=1.0),
    rate=lambda epochs: 0.7 ** (math.ceil(epochs) - 1),
    batch=64,
    epochs=14,
    published=(
        Published(0.9912),
        *(
            Published(value, "FGSM", epsilon)
            for epsilon, value in
            {0.05: 0.9605, 0.1: 0.8743, 0.15: 0.7111, 0.2: 0.4877, 0.25: 0.2717, 0.3: 0.1418}.items()
        ),
    ),
)  # fmt: skip


def one_step(network: nn.Module, pixels: Tensor, labels: Tensor, starts: Tensor, *, epsilon: float) -> Tensor:
    """Attack as Wong, Rice and Kolter 2020 do in training: the gradient is taken where a start leaves [0, 1], too."""
    moved = torch.add(pixels, starts, alpha=epsilon).requires_grad_()
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(network(moved), labels), moved)
    change = (epsilon * (starts + 1.25 * gradient.sign())).clamp_(-epsilon, epsilon)
    return (pixels + change).clamp_(0.0, 1.0)


WONG = Recipe(
    key="wong",
    title="convolutional network trained with FGSM at 0.3 (Wong, Rice and Kolter 2020)",
    source="Fast is better than free; the code of its MNIST experiments; robust accuracy as AutoAttack's table has it",
    setting="10 epochs of Adam, rate up to 0.005 until epoch 4 and down to 0, batches of 100; a step of 1.25 epsilon",
    network=lambda _: nn.Sequential(
        nn.Conv2d(1, 16, 4, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 100), nn.ReLU(), nn.Linear(100, 10),
    ),
    optimiser=lambda parameters: torch.optim.Adam(parameters, lr=5e-3),
    rate=lambda epochs: float(np.interp(epochs, [0, 4, 10], [0, 5e-3, 0])),
    batch=100,
    epochs=10,
    published=(Published(0.985), Published(0.8877, "PGD", 0.3)),
    alter=lambda network, pixels, labels, starts: one_step(network, pixels, labels, starts, epsilon=0.3),
)  # fmt: skip

FRONTEND = Recipe(
    key="frontend",
    title="small convolutional network of PyTorch's C++ example",
    source="PyTorch tutorials, `advanced/cpp_cuda_graphs`; network and settings of examples/cpp/mnist",
    setting="10 epochs of SGD, rate 0.01, momentum 0.5, batches of 64",
    network=lambda _: nn.Sequential(
        Normalisation(MNIST_MEAN, MNIST_STD),
        nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(10, 20, 5), nn.Dropout2d(), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(320, 50), nn.ReLU(), nn.Dropout(0.5), nn.Linear(50, 10),
    ),
    optimiser=lambda parameters: torch.optim.SGD(parameters, lr=0.01, momentum=0.5),
    rate=lambda _: 0.01,
    batch=64,
    epochs=10,
    published=(Published(0.938, epoch=1), Published(0.978, epoch=5), Published(0.983, epoch=10)),
)  # fmt: skip

KERAS = Recipe(
    key="keras",
    title="perceptron 784-512-512-10 of Keras's examples",
    source="keras/examples/mnist_mlp.py",
    setting="Dropout 0.2, 20 epochs of RMSprop, rate 0.001, batches of 128; Glorot's initial weights",
    network=lambda _: _glorot(
        nn.Sequential(
            nn.Flatten(), nn.Linear(784, 512), nn.ReLU(), nn.Dropout(0.2),
            nn.Linear(512, 512), nn.ReLU(), nn.Dropout(0.2), nn.Linear(512, 10),
        )
    ),
    optimiser=lambda parameters: torch.optim.RMSprop(parameters, lr=1e-3, alpha=0.9, eps=1e-7),
    rate=lambda _: 1e-3,
    batch=128,
    epochs=20,
    published=(Published(0.984),),
)  # fmt: skip

WIDE = Recipe(
    key="wide",
    title="perceptron 784-377-10",
    source="github.com/abzb1/reliable, 1/1-2; the share of images that an attack turns, taken from the accuracy",
    setting="50 epochs of AdamW, rate 0.003, batches of 8,192",
    network=lambda _: nn.Sequential(nn.Flatten(), nn.Linear(784, 377), nn.ReLU(), nn.Linear(377, 10)),
    optimiser=lambda parameters: torch.optim.AdamW(parameters, lr=3e-3),
    rate=lambda _: 3e-3,
    batch=8192,
    epochs=50,
    published=(
        Published(0.9789),
        Published(0.9789 - 0.0345, "FGSM", 0.01),
        Published(0.9789 - 0.3022, "FGSM", 0.03),
    ),
)

HELLO_WORLD = Recipe(
    key="hello-world",
    title="perceptron 784-64-64-10 of Lightning's notebook, 42,000 images",
    source="github.com/st81/pytorch-lightning-tutorial-mnist, which told 0.9184 before",
    setting="Dropout 0.1, 3 epochs of Adam, rate 0.0002, batches of 256; one order for all epochs",
    network=_of_plmnist("mlp", 64, 0.1),
    optimiser=lambda parameters: torch.optim.Adam(parameters, lr=2e-4),
    rate=lambda _: 2e-4,
    batch=256,
    epochs=3,
    published=(Published(0.9187),),
    fixed=42_000,
)

RECIPES = (TUTORIAL, WONG, WIDE, KERAS, FRONTEND, HELLO_WORLD)


def _glorot(network: nn.Module) -> nn.Module:
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return network
