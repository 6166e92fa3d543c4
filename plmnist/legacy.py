"""The number that the original tutorial calls FGSM accuracy, reproduced so that old and new results can be compared.

It is not the accuracy under FGSM. The original steps along the gradient in normalised units and then clips the
*normalised* image to [0, 1], whose range is about [-0.42, 2.82] for MNIST. In pixel units: every background pixel rises
by the mean, 0.13, every full one falls to mean + std, 0.44, whatever epsilon is, and the step survives only where a
pixel lies between. It then divides by the images that were classified correctly before. Use it for nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from plmnist.config import Configuration
from plmnist.data import ImageSet, data_hashes
from plmnist.device import device_of, repeatable
from plmnist.evaluation import evaluation_mode, one_thread
from plmnist.model import Classifier
from plmnist.results.files import json_bytes
from plmnist.results.records import ATTACK_FORMAT

__all__ = ["LegacyCounts", "attack_legacy", "legacy_images", "legacy_record"]

_ROWS = 500


@dataclass(frozen=True)
class LegacyCounts:
    """What the original counts, for one epsilon in normalised units: one is `std` pixel units."""

    epsilon: float
    n: int
    clean_correct: int
    adversarial_correct_given_clean: int

    @property
    def acc(self) -> float | None:
        """Share of the images classified correctly before that still are; None if there are none."""
        return self.adversarial_correct_given_clean / self.clean_correct if self.clean_correct else None


def legacy_images(network: Classifier, pixels: Tensor, labels: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Return the normalised images before and after the original's attack, each shape (N, H * W).

    As the original: ``clamp(x + epsilon * sign(d nll / dx), 0, 1)`` with x normalised, in float32.
    """
    with torch.enable_grad():
        before = network.normalisation(pixels).flatten(1).detach().requires_grad_()
        loss = torch.nn.functional.cross_entropy(network.classify(before), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, before)
    before = before.detach()
    return before, torch.clamp(before + epsilon * gradient.sign(), 0, 1)


def attack_legacy(network: Classifier, images: ImageSet, epsilons: Iterable[float]) -> list[LegacyCounts]:
    """Count as the original tutorial does, for each epsilon in normalised units."""
    counts = []
    device = device_of(network)
    images = images.to(device)
    with one_thread(), repeatable(device), evaluation_mode(network):
        for epsilon in epsilons:
            clean = both = 0
            for start in range(0, len(images), _ROWS):
                rows = slice(start, start + _ROWS)
                labels = images.labels[rows]
                before, after = legacy_images(network, images.pixels(rows), labels, epsilon)
                with torch.inference_mode():
                    right = network.classify(before).argmax(1) == labels
                    clean += int(right.sum())
                    both += int((right & (network.classify(after).argmax(1) == labels)).sum())
            counts.append(LegacyCounts(float(epsilon), len(images), clean, both))
    return counts


def legacy_record(config: Configuration, counts: list[LegacyCounts], *, model_sha256: str) -> bytes:
    """Return the content of ``fgsm_legacy.json``; the first of the counts must be that of the configuration."""
    curve = [
        {
            "epsilon": c.epsilon,
            "adversarial_correct_given_clean": c.adversarial_correct_given_clean,
            "fgsm_legacy_acc": c.acc,
        }
        for c in counts
    ]
    record = {
        "format": ATTACK_FORMAT,
        "attack": "fgsm_legacy",
        "config": config.to_mapping(),
        "n_test": counts[0].n,
        "clean_correct": counts[0].clean_correct,
        **curve[0],
        "curve": sorted(curve, key=lambda point: point["epsilon"] or 0.0),
        "model_sha256": model_sha256,
        "data_sha256": data_hashes(config.dataset),
    }
    return json_bytes(record)
