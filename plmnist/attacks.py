"""Attacks on a trained network, in pixel space.

Threat model: the attacker knows the network and may change every pixel by at most epsilon (L-infinity), within [0, 1].
An attack here never touches the network: it works on a copy, so parameters, gradients, mode and random state are as
they were.

FGSM is one step, hence an upper bound on robustness: a stronger attack finds more.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmnist.data import ImageSet
from plmnist.errors import ConfigurationError, PlmnistError
from plmnist.evaluation import evaluation_mode, one_thread

__all__ = ["AttackCounts", "AttackResult", "Examples", "attack_fgsm", "fgsm", "gradient_sign", "perturb"]


ATTACK_ROWS = 128
"""Images per pass, few enough for the float64 pixels and their derivative to stay in the cache."""


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
        Images whose gradient is zero in every pixel, which this attack can't change.
    """

    counts: tuple[AttackCounts, ...]
    n_zero_gradient: int
    examples: Examples


def gradient_sign(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Return the sign of the derivative of the cross-entropy by the pixels, float32, same shape as `images`.

    Parameters
    ----------
    network
        Takes pixels in [0, 1] and returns logits (N, 10).
    images
        Pixels, shape (N, 1, H, W).
    labels
        True classes, shape (N,).

    Raises
    ------
    PlmnistError
        If the gradient is not finite.

    Notes
    -----
    For a confident network the derivative of the cross-entropy underflows: with logits z, true class y and
    probabilities p it is ``sum over j != y of p_j (dz_j - dz_y)``, and all p_j with j != y may be too small for any
    floating-point type, which would pass for robustness. Dividing by ``1 - p_y`` leaves the sign unchanged and gives
    ``sum over j != y of q_j dz_j - dz_y`` with q the softmax over the wrong classes, which can't underflow. It is taken
    in float64, so that cancellation between its terms does not decide the sign either.
    """
    return _gradient_sign(_attack_copy(network), images, labels)


def perturb(images: Tensor, sign: Tensor, epsilon: float) -> Tensor:
    """Return `images` moved by `epsilon` along `sign` and clipped to [0, 1]."""
    return torch.add(images, sign, alpha=epsilon).clamp_(0.0, 1.0)


def fgsm(network: nn.Module, images: Tensor, labels: Tensor, epsilons: Iterable[float]) -> list[Tensor]:
    """Attack images with the fast gradient sign method (Goodfellow, Shlens and Szegedy 2015, section 4).

    Parameters
    ----------
    network, images, labels
        As for :func:`gradient_sign`.
    epsilons
        Budgets in pixel units, in [0, 1]; the gradient is computed once for all of them.

    Returns
    -------
    list of Tensor
        For each epsilon the adversarial images, shape of `images`.
    """
    budgets = _checked(epsilons)
    sign = gradient_sign(network, images, labels)
    return [perturb(images, sign, epsilon) for epsilon in budgets]


def attack_fgsm(network: nn.Module, images: ImageSet, epsilons: Iterable[float]) -> AttackResult:
    """Attack a whole image set with FGSM and count what survives.

    Parameters
    ----------
    network
        Takes pixels in [0, 1] and returns logits; it is evaluated in evaluation mode, in its own precision.
    images
        What to attack, usually the test part.
    epsilons
        Budgets in pixel units, in [0, 1].
    """
    budgets = _checked(epsilons)
    index = _first_of_each_class(images.labels)
    n_zero_gradient = 0
    clean_predictions: list[Tensor] = []
    predictions: list[list[Tensor]] = [[] for _ in budgets]
    with one_thread(), evaluation_mode(network):
        victim = _attack_copy(network)
        # In pieces that fit the cache.
        for start in range(0, len(images), ATTACK_ROWS):
            rows = slice(start, start + ATTACK_ROWS)
            pixels = images.pixels(rows)
            sign = _gradient_sign(victim, pixels, images.labels[rows])
            n_zero_gradient += int((sign.flatten(1).abs().sum(1) == 0).sum())
            with torch.inference_mode():
                clean = network(pixels).argmax(1)
                clean_predictions.append(clean)
                for epsilon, found in zip(budgets, predictions, strict=True):
                    # Epsilon 0 changes no bit of an image.
                    found.append(network(perturb(pixels, sign, epsilon)).argmax(1) if epsilon > 0 else clean)
        clean = torch.cat(clean_predictions)
        adversarial = torch.stack([torch.cat(found) for found in predictions])
        original = torch.cat([images.pixels(slice(i, i + 1)) for i in index.tolist()])
        sign = _gradient_sign(victim, original, images.labels[index])
    return AttackResult(
        counts=tuple(
            _count(epsilon, clean, found, images.labels) for epsilon, found in zip(budgets, adversarial, strict=True)
        ),
        n_zero_gradient=n_zero_gradient,
        examples=Examples(
            index=index,
            label=images.labels[index],
            original=original,
            clean_prediction=clean[index],
            adversarial=torch.stack([perturb(original, sign, epsilon) for epsilon in budgets]),
            adversarial_prediction=adversarial[:, index],
        ),
    )


def _attack_copy(network: nn.Module) -> nn.Module:
    return copy.deepcopy(network).double().eval().requires_grad_(False)


def _gradient_sign(victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    with torch.enable_grad():
        pixels = images.detach().double().requires_grad_()
        logits = victim(pixels)
        truth = labels[:, None]
        weights = torch.softmax(logits.detach().scatter(1, truth, -torch.inf), 1).scatter_(1, truth, -1.0)
        # Given the weights as an argument of its own, torch would import half a second's worth of symbolic algebra.
        (gradient,) = torch.autograd.grad((logits * weights).sum(), pixels)
    if not gradient.sum().isfinite():
        raise PlmnistError(
            "the gradient of the network by the pixels is not finite",
            hint="The network is damaged or did not train; train it again.",
        )
    return gradient.sign_().to(images.dtype)


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


def _first_of_each_class(labels: Tensor) -> Tensor:
    found = [int((labels == label).nonzero()[0]) for label in torch.unique(labels)]
    return torch.tensor(found)
