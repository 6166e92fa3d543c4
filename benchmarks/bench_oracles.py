"""Attacks beside closed forms and other libraries, and what adversarial training does to a perceptron, on real MNIST.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_oracles.py [--seeds 3] [--record [FILE]] [--page FILE]

``--page`` writes the summary into a page of documentation. Networks trained as published ones are the business of
``bench_published.py``.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from unittest.mock import MagicMock

import torch
from setting import add_page_option, add_record_option, describe, replace_section, table
from torch import Tensor, nn

from plmnist.attacks import attack_images
from plmnist.config import Configuration
from plmnist.data import ImageSet
from plmnist.perturbations import PGD, FastGradientSign
from plmnist.sample import Sample
from plmnist.statistics import over_seeds, wilson
from plmnist.training import TrainingData, prepare_data, train

GOODFELLOW_SOFTMAX_ERROR = 0.999
"""Goodfellow, Shlens and Szegedy 2015, section 4: softmax regression on MNIST under FGSM at epsilon 0.25."""

EPSILONS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
CONTROL_IMAGES = 1000
LIBRARY_IMAGES = {"perceptron": 1000, "convolutional network": 200}


class LinearNetwork(nn.Module):
    """Logits that are linear in the pixels, trained by plain full-batch steps of Adam."""

    def __init__(self, images: ImageSet, classes: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = nn.Linear(28 * 28, classes)
        pixels = images.pixels().flatten(1)
        optimiser = torch.optim.Adam(self.parameters(), lr=0.01)
        for _ in range(150):
            loss = nn.functional.cross_entropy(self.layer(pixels), images.labels)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1))
        return logits


def closed_form(data: TrainingData) -> tuple[str, list[str]]:
    """Count for threes and sevens what withstands the worst case, which for two classes is known exactly."""
    train_part, test_part = (_threes_and_sevens(images) for images in (data.train, data.test))
    network = LinearNetwork(train_part, 2)
    weight = network.layer.weight.detach().double()
    offset = network.layer.bias.detach().double()
    pixels, labels = test_part.pixels().flatten(1).double(), test_part.labels
    towards = (weight[1 - labels] - weight[labels]).sign()
    attacked = attack_images(network, test_part, EPSILONS, FastGradientSign())
    rows, differing = [], 0
    for epsilon, counts in zip(EPSILONS, attacked.counts, strict=True):
        # Each pixel goes where it lowers the margin most: by epsilon, or to the end of the range.
        worst = (pixels + epsilon * towards).clamp(0, 1)
        logits = worst @ weight.T + offset
        expected = int((logits.argmax(1) == labels).sum())
        differing += abs(expected - counts.adversarial_correct)
        rows.append([f"{epsilon:g}", str(expected), str(counts.adversarial_correct)])
    text = table(["epsilon", f"worst case, right of {len(labels):,}", "under FGSM"], rows)
    summary = ["linear network, 3 against 7: the worst case in closed form", f"{differing} images differ", ""]
    return text, summary


def softmax_regression(data: TrainingData) -> list[str]:
    network = LinearNetwork(data.train, 10)
    (counts,) = attack_images(network, data.test, [0.25], FastGradientSign()).counts
    low, high = wilson(counts.n - counts.adversarial_correct, counts.n)
    return [
        "softmax regression under FGSM at 0.25, error (Goodfellow et al. 2015)",
        f"{1 - counts.adversarial_acc:.4f} ({low:.4f} to {high:.4f})",
        f"{GOODFELLOW_SOFTMAX_ERROR}",
    ]


def libraries(networks: dict[str, nn.Module], test: ImageSet) -> tuple[str, list[list[str]]]:
    """Count the images for which another library ends with another outcome."""
    rows, summary = [], []
    for name, network in networks.items():
        images = test.at(Sample.spread(LIBRARY_IMAGES[name], len(test)))
        for attack_name, ours in (("FGSM", FastGradientSign()), ("PGD", PGD(20, 1 / 8, random_start=False))):
            differing = dict.fromkeys(("foolbox", "torchattack"), 0)
            for epsilon in EPSILONS:
                result = attack_images(network, images, [epsilon], ours)
                right = result.clean_predictions == images.labels
                mine = (result.predictions[0] == images.labels) & right
                for library in differing:
                    theirs = LIBRARIES[library](attack_name, network, images, epsilon) & right
                    differing[library] += int((theirs != mine).sum())
            compared = f"{len(images) * len(EPSILONS):,}"
            rows.append([name, attack_name, compared, *map(str, differing.values())])
            summary.append(
                [
                    f"{attack_name} on the {name}, outcomes that differ from foolbox's and torchattack's",
                    " and ".join(f"{n}" for n in differing.values()) + f" of {compared}",
                    "0",
                ]
            )
    return table(["network", "attack", "outcomes compared", *(f"{name} differs" for name in LIBRARIES)], rows), summary


def robust(data: TrainingData, seeds: Sequence[int]) -> tuple[str, list[list[str]]]:
    """Train perceptrons in the usual way and against attacks, with several seeds, and attack them."""
    rows, summary = [], []
    sample = Sample.spread(CONTROL_IMAGES, len(data.test))
    for training, budget in (("standard", 0.0), ("fgsm", 0.1), ("pgd", 0.1), ("fgsm", 0.3)):
        found: dict[int, list[float]] = {}
        for seed in seeds:
            config = Configuration(
                dataset="mnist", num_epochs=5, batch_size=128, hidden_size=128, learning_rate=1e-3, dropout_prob=0.0,
                fgsm_epsilon=0.1, seed=seed, training=training, training_epsilon=budget,
            )  # fmt: skip
            trained = train(config, data=data)
            single = attack_images(trained.network, data.test, [0.1, 0.3], FastGradientSign()).counts
            iterative = attack_images(trained.network, data.test.at(sample), [0.1, 0.3], PGD()).counts
            found[seed] = [trained.test.acc, *(c.adversarial_acc for c in (*single, *iterative))]
        cells = [_over_seeds({seed: values[i] for seed, values in found.items()}) for i in range(5)]
        rows.append([training if training == "standard" else f"{training}, {budget:g}", *cells])
        at = "0.3" if budget == 0.3 else "0.1"
        shown = cells[4 if budget == 0.3 else 3]
        summary.append([f"perceptron, training {rows[-1][0]}: accuracy, under PGD at {at}", f"{cells[0]}, {shown}", ""])
    head = ["training", "accuracy", "FGSM 0.1", "FGSM 0.3", "PGD 0.1", "PGD 0.3"]
    about = (
        f"Networks 784-128-128-10, five epochs of Adam at 1e-3; means over {len(seeds)} seeds, 95 % t intervals. "
        f"FGSM is that of all test images, PGD, with 40 steps, that of {sample}."
    )
    return f"{about}\n\n{table(head, rows)}", summary


def _over_seeds(values: dict[int, float]) -> str:
    summary = over_seeds(values)
    if summary.interval is None:
        return f"{summary.mean:.4f}"
    return f"{summary.mean:.4f} ({summary.interval.low:.4f} to {summary.interval.high:.4f})"


def _trained(data: TrainingData, *, learning_rate: float = 1e-3, **settings: Any) -> nn.Module:
    config = Configuration(
        dataset="mnist", batch_size=128, learning_rate=learning_rate, fgsm_epsilon=0.1, seed=1, **settings
    )  # fmt: skip
    return train(config, data=data).network


def _threes_and_sevens(images: ImageSet) -> ImageSet:
    rows = (images.labels == 3) | (images.labels == 7)
    return ImageSet(images.images[rows], (images.labels[rows] == 7).long(), images.full_scale)


def _foolbox(attack: str, network: nn.Module, images: ImageSet, epsilon: float) -> Tensor:
    import foolbox

    model = foolbox.PyTorchModel(network.eval(), bounds=(0, 1), device="cpu")
    if attack == "FGSM":
        method = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    else:
        method = foolbox.attacks.LinfPGD(abs_stepsize=epsilon / 8, steps=20, random_start=False)
    is_fooled = [
        method(model, pixels, labels, epsilons=[epsilon])[2][0] for pixels, labels in _batches(images)
    ]  # fmt: skip
    return ~torch.cat(is_fooled)


def _torchattack(attack: str, network: nn.Module, images: ImageSet, epsilon: float) -> Tensor:
    # It imports torchvision for attacks that are not used here.
    for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
        sys.modules.setdefault(name, MagicMock())
    import torchattack

    options = {"device": torch.device("cpu"), "eps": epsilon}
    if attack == "FGSM":
        method = torchattack.FGSM(network.folded(), **options)
    else:
        method = torchattack.PGD(network.folded(), **options, steps=20, alpha=epsilon / 8, random_start=False)
    found = []
    for pixels, labels in _batches(images):
        altered = method(pixels.double(), labels).detach().float()
        with torch.no_grad():
            found.append(network(altered).argmax(1) == labels)
    return torch.cat(found)


def _batches(images: ImageSet) -> Iterable[tuple[Tensor, Tensor]]:
    return zip(torch.split(images.pixels(), 250), torch.split(images.labels, 250), strict=True)


LIBRARIES: dict[str, Callable[[str, nn.Module, ImageSet, float], Tensor]] = {
    "foolbox": _foolbox,
    "torchattack": _torchattack,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument(
        "--seeds", type=int, default=3, help="of each perceptron trained against attacks, 1 to this (3)"
    )
    add_record_option(parser, "oracles")
    add_page_option(parser, "oracles")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # what foolbox imports uses deprecated names
    torch.set_num_threads(1)
    data = prepare_data("mnist")
    networks = {
        "perceptron": _trained(data, num_epochs=5, hidden_size=64, learning_rate=2e-4, dropout_prob=0.1),
        "convolutional network": _trained(data, num_epochs=1, hidden_size=128, dropout_prob=0.5, network="cnn"),
    }
    linear_text, linear_summary = closed_form(data)
    regression = softmax_regression(data)
    libraries_text, libraries_summary = libraries(networks, data.test)
    images_of = {name: str(Sample.spread(n, len(data.test))) for name, n in LIBRARY_IMAGES.items()}
    robust_text, robust_summary = robust(data, range(1, arguments.seeds + 1))
    summary = table(
        ["what", "ours (95 % interval)", "expected or published"],
        [linear_summary, *libraries_summary, regression, *robust_summary],
    )
    text = "\n\n".join(
        [
            "# Closed forms, other libraries and adversarial training",
            summary,
            "## The worst case of a linear network",
            "Logistic regression on threes and sevens, for which FGSM is the exact worst case, also where pixels are "
            "clipped: no other change within the budget does more.",
            linear_text,
            "## foolbox and torchattack",
            f"At {len(EPSILONS)} epsilons {images_of['perceptron']} for the perceptron (five epochs of training), "
            f"{images_of['convolutional network']} for the convolutional network (`network: cnn`, one epoch). PGD "
            "takes 20 steps of an eighth of epsilon from the image itself. foolbox takes derivatives in single "
            "precision; torchattack gets a network in double precision, as plmnist does.",
            libraries_text,
            "## Adversarial training",
            robust_text,
            describe(["torch", "numpy", "foolbox", "torchattack"]),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")
    if arguments.page:
        replace_section(arguments.page, "oracles", summary)


if __name__ == "__main__":
    main()
