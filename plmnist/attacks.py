"""Attacks on a trained network, in pixel space.

Threat model: the attacker knows the network and may change every pixel by at most epsilon (L-infinity), within [0, 1].
An attack here never touches the network: it works on a copy, so parameters, gradients, mode and random state are as
they were.

FGSM is one step, hence an upper bound on robustness: a stronger attack finds more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from plmnist.data import ImageSet
from plmnist.device import device_name, device_of, repeatable
from plmnist.errors import ConfigurationError
from plmnist.evaluation import evaluation_mode, one_thread
from plmnist.model import NUM_CLASSES
from plmnist.perturbations import Attack, FastGradientSign, Target

__all__ = [
    "AttackCounts",
    "AttackResult",
    "Examples",
    "attack_fgsm",
    "attack_images",
    "fgsm",
    "gradient_sign",
    "perturbed",
]


BATCH_ROWS = 1536
"""Altered images per pass through the network, few enough to stay in the cache."""


@dataclass(frozen=True)
class AttackCounts:
    """How many images survive an attack of one size.

    Attributes
    ----------
    epsilon
        Budget in pixel units.
    n
        Number of images.
    clean_correct
        Images classified correctly before the attack.
    adversarial_correct
        Images classified correctly after the attack, whether or not they were before.
    adversarial_correct_given_clean
        Images classified correctly before and after.
    """

    epsilon: float
    n: int
    clean_correct: int
    adversarial_correct: int
    adversarial_correct_given_clean: int

    @property
    def clean_acc(self) -> float:
        """Share of all images that are classified correctly before the attack."""
        return self.clean_correct / self.n

    @property
    def adversarial_acc(self) -> float:
        """Share of all images that are classified correctly after the attack."""
        return self.adversarial_correct / self.n

    @property
    def adversarial_acc_given_clean(self) -> float | None:
        """Share of the images classified correctly before that still are after; None if there are none."""
        if self.clean_correct == 0:
            return None
        return self.adversarial_correct_given_clean / self.clean_correct


@dataclass(frozen=True)
class Examples:
    """Images before and after an attack: the first test image of each class.

    Attributes
    ----------
    index
        Position in the test set, shape (k,).
    original, adversarial
        Pixels, float32, shape (k, 1, H, W) and, with one slice per epsilon, (e, k, 1, H, W).
    label, clean_prediction, adversarial_prediction
        Classes, shape (k,), (k,) and (e, k).
    """

    index: Tensor
    label: Tensor
    original: Tensor
    clean_prediction: Tensor
    adversarial: Tensor
    adversarial_prediction: Tensor


@dataclass(frozen=True)
class AttackResult:
    """Outcome of an attack at several epsilons.

    Attributes
    ----------
    counts
        One entry per epsilon, in the order asked for.
    n_zero_gradient
        Images whose gradient is zero in every pixel, which no attack by the gradient can change.
    examples
        Some of the images.
    labels, clean_predictions
        Class of each image, true and predicted before the attack, shape (N,).
    predictions
        Class of each image predicted after the attack, shape (e, N).
    device
        Where the network was attacked: ``cpu``, or the product name of a GPU. The tensors here are always on the CPU.
    """

    counts: tuple[AttackCounts, ...]
    n_zero_gradient: int
    examples: Examples
    labels: Tensor
    clean_predictions: Tensor
    predictions: Tensor
    device: str = "cpu"

    @property
    def smallest_epsilon(self) -> Tensor:
        """For each image the smallest of the epsilons at which it is misclassified, float64, shape (N,).

        0 if it is misclassified to begin with, infinity if it never is.
        """
        is_fooled = torch.cat([self.clean_predictions[None], self.predictions]) != self.labels
        budgets = is_fooled.new_tensor([0.0, *(counts.epsilon for counts in self.counts)], dtype=torch.float64)
        return budgets[:, None].expand(is_fooled.shape).where(is_fooled, torch.inf).amin(0)

    def confusion(self, which: int | None) -> Tensor:
        """Count the images by class, true (rows) and predicted (columns), int64, shape (10, 10).

        The predictions are those at one of the epsilons, given by its place, or those before the attack for None.
        """
        predictions = self.clean_predictions if which is None else self.predictions[which]
        cells = torch.bincount(NUM_CLASSES * self.labels + predictions, minlength=NUM_CLASSES**2)
        return cells.reshape(NUM_CLASSES, NUM_CLASSES)

    def at(self, epsilons: Sequence[float]) -> AttackResult:
        """Return the outcome at some of the epsilons."""
        all_epsilons = [counts.epsilon for counts in self.counts]
        which = [all_epsilons.index(epsilon) for epsilon in epsilons]
        examples = replace(
            self.examples,
            adversarial=self.examples.adversarial[which],
            adversarial_prediction=self.examples.adversarial_prediction[which],
        )
        counts = tuple(self.counts[i] for i in which)
        return replace(self, counts=counts, examples=examples, predictions=self.predictions[which])


def gradient_sign(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the derivative of the cross-entropy by the pixels; see :meth:`Target.gradient_sign`."""
    return Target(network).gradient_sign(images, labels)[0]


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, epsilons: Iterable[float]) -> list[Tensor]:
    """Attack images with the fast gradient sign method (Goodfellow, Shlens and Szegedy 2015, section 4).

    Parameters
    ----------
    network, images, labels
        As for :meth:`plmnist.perturbations.Target.gradient_sign`.
    epsilons
        Budgets in pixel units, in [0, 1]; the gradient is computed once for all of them.

    Returns
    -------
    list of Tensor
        For each epsilon the adversarial images, shape of `images`.
    """
    return list(perturbed(network, images, labels, epsilons, FastGradientSign()))


def perturbed(
    network: nn.Module, images: Tensor, labels: Tensor, epsilons: Iterable[float], attack: Attack, *, first: int = 0
) -> Tensor:
    """Return what an attack makes of images, for each epsilon, shape (e, N, 1, H, W); epsilon 0 changes no bit.

    Parameters
    ----------
    first
        Position of the first image in its set, on which an attack's random numbers depend.
    """
    budgets = _checked(epsilons)
    with one_thread(), repeatable(images.device), evaluation_mode(network):
        return _perturbed(Target(network), images, labels, budgets, attack, first)


def attack_fgsm(network: nn.Module, images: ImageSet, epsilons: Iterable[float]) -> AttackResult:
    """Attack a whole image set with FGSM and count what survives; see :func:`attack_images`."""
    return attack_images(network, images, epsilons, FastGradientSign())


def attack_images(network: nn.Module, images: ImageSet, epsilons: Iterable[float], attack: Attack) -> AttackResult:
    """Attack a whole image set and count what survives.

    Parameters
    ----------
    network
        Takes pixels in [0, 1] and returns logits; it is evaluated in evaluation mode, in its own precision and
        on its own device.
    images
        What to attack, usually the test part.
    epsilons
        Budgets in pixel units, in [0, 1].
    attack
        One of :data:`plmnist.perturbations.ATTACKS`, or another that keeps their contract.
    """
    budgets = _checked(epsilons)
    device = device_of(network)
    images = images.to(device)
    # Epsilon 0 changes no bit of an image.
    positive = [epsilon for epsilon in dict.fromkeys(budgets) if epsilon > 0]
    rows = max(1, min(len(images), BATCH_ROWS // max(1, len(positive))))
    n_zero_gradient = 0
    index = _first_of_each_class(images.labels)
    shown: dict[int, Tensor] = {}
    clean_pieces: list[Tensor] = []
    pieces: list[Tensor] = []
    with one_thread(), repeatable(device), evaluation_mode(network):
        target = Target(network)
        # One batch of all budgets of a few images at a time, in the same memory.
        altered = torch.empty(len(positive), rows, *images.images.shape[1:], device=device)
        for start in range(0, len(images), rows):
            piece = slice(start, start + rows)
            pixels, labels = images.pixels(piece), images.labels[piece]
            clean_pieces.append(target.predict(pixels))
            batch = altered if len(labels) == rows else torch.empty(len(positive), *pixels.shape, device=device)
            n_zero_gradient += attack.fill(batch, target, pixels, labels, positive, first=start)
            for i in index:
                if start <= i < start + rows:
                    shown[i] = torch.cat([pixels[i - start, None], batch[:, i - start]])
            pieces.append(target.predict_many(batch.flatten(0, 1)).reshape(len(positive), len(labels)))
        clean = torch.cat(clean_pieces).cpu()
        found = torch.cat(pieces, 1).cpu()
        predictions = torch.stack([found[positive.index(e)] if e > 0 else clean for e in budgets])
    examples = torch.stack([shown[i] for i in index], 1).cpu()
    labels = images.labels.cpu()
    return AttackResult(
        counts=tuple(
            _count(epsilon, clean, after, labels) for epsilon, after in zip(budgets, predictions, strict=True)
        ),
        n_zero_gradient=n_zero_gradient,
        examples=Examples(
            index=torch.tensor(index, device="cpu"),
            label=labels[index],
            original=examples[0],
            clean_prediction=clean[index],
            adversarial=examples[[0 if e == 0 else 1 + positive.index(e) for e in budgets]],
            adversarial_prediction=predictions[:, index],
        ),
        labels=labels,
        clean_predictions=clean,
        predictions=predictions,
        device=device_name(device),
    )


def _perturbed(
    target: Target, images: Tensor, labels: Tensor, budgets: list[float], attack: Attack, first: int
) -> Tensor:
    out = torch.empty(len(budgets), *images.shape, device=images.device)
    positive = [i for i, epsilon in enumerate(budgets) if epsilon > 0]
    altered = torch.empty(len(positive), *images.shape, device=images.device)
    attack.fill(altered, target, images, labels, [budgets[i] for i in positive], first=first)
    out[:] = images
    out[positive] = altered
    return out


def _checked(epsilons: Iterable[float]) -> list[float]:
    budgets = [float(epsilon) for epsilon in epsilons]
    for epsilon in budgets:
        if not 0 <= epsilon <= 1:
            raise ConfigurationError(f"epsilon must be between 0 and 1, in pixel units, not {epsilon}")
    if not budgets:
        raise ConfigurationError("an attack needs at least one epsilon")
    return budgets


def _count(epsilon: float, clean: Tensor, adversarial: Tensor, labels: Tensor) -> AttackCounts:
    before, after = clean == labels, adversarial == labels
    return AttackCounts(
        epsilon=epsilon,
        n=len(labels),
        clean_correct=int(before.sum()),
        adversarial_correct=int(after.sum()),
        adversarial_correct_given_clean=int((before & after).sum()),
    )


def _first_of_each_class(labels: Tensor) -> list[int]:
    return [int((labels == label).nonzero()[0]) for label in torch.unique(labels)]
