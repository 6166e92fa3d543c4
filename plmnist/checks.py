"""Is an evaluation worth believing? Each check is a pass or a warning, with a sentence that says why.

The checks are those that Carlini et al. 2019, "On Evaluating Adversarial Robustness", section 5, and the automatic
warnings of AutoAttack (Croce and Hein 2020) ask of any evaluation. They look at the network as it is handed over and
change nothing about it; they write nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmnist.attacks import AttackCounts, AttackResult, attack_images
from plmnist.config import CURVE
from plmnist.data import ImageSet
from plmnist.device import device_of, repeatable
from plmnist.evaluation import evaluation_mode, one_thread
from plmnist.model import NUM_CLASSES
from plmnist.perturbations import PGD, FastGradientSign, Noise, Target, derivative
from plmnist.sample import Sample

__all__ = ["CHECKED_IMAGES", "Check", "check_evaluation"]

CHECKED_IMAGES = 1000
"""So many of the test images are attacked, evenly spread: enough to see a fault, few enough for seconds."""

_EPSILONS = (*CURVE, 0.5)
_STRENGTH_EPSILONS = (0.02, 0.05, 0.1)
_TOLERANCE = 0.01
"""Share of the images by which a comparison may fail without a warning: attacks are heuristics."""

_CHANCE = 1 / NUM_CLASSES

_WITHIN = f"within the tolerance of {_TOLERANCE:.0%}"


@dataclass(frozen=True)
class Check:
    """One finding about an evaluation."""

    name: str
    passed: bool
    sentence: str


def check_evaluation(network: nn.Module, images: ImageSet, *, pgd: PGD | None = None) -> list[Check]:
    """Attack some images and say what speaks for or against believing the result.

    Parameters
    ----------
    network
        Takes pixels in [0, 1] and should return logits; as the evaluation uses it, its mode included.
    images
        The test part; :data:`CHECKED_IMAGES` of them are used, evenly spread.
    pgd
        The iterative attack to compare with; None means 20 steps from the image itself.
    """
    device = device_of(network)
    some = images.at(Sample.spread(CHECKED_IMAGES, len(images))).to(device)
    # What a faulty network draws at random must not disturb the caller's random state.
    with one_thread(), repeatable(device), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        found = [_evaluation_mode(network), _is_deterministic(network, some)]
        with evaluation_mode(network):
            found += _outputs(network, some)
        single = attack_images(network, some, _EPSILONS, FastGradientSign())
        noise = attack_images(network, some, _STRENGTH_EPSILONS, Noise())
        iterative = attack_images(
            network, some, _STRENGTH_EPSILONS, pgd or PGD(steps=20, step_size=0.125, random_start=False)
        )
    found.append(_zero_gradients(single))
    found += _curve(single)
    found += _strength(single.at(_STRENGTH_EPSILONS), iterative, noise)
    return found


def _evaluation_mode(network: nn.Module) -> Check:
    training = [name or type(network).__name__ for name, module in network.named_modules() if module.training]
    if training:
        return Check("evaluation mode", False, f"{training[0]} is in training mode: dropout acts on what is measured.")
    return Check("evaluation mode", True, "Every layer is in evaluation mode.")


def _is_deterministic(network: nn.Module, images: ImageSet) -> Check:
    pixels = images.pixels()
    few = pixels[: min(64, len(pixels) // 2 * 2)]
    with torch.no_grad():
        answers = [network(pixels) for _ in range(3)]
        in_pairs = torch.cat([network(pair) for pair in torch.split(few, 2)])
    differing = torch.stack([answer != answers[0] for answer in answers]).any(0).any(1)
    if differing.any():
        sentence = (
            f"The same image gives different outputs for {_share(differing)} of the images: an attack meets another "
            "network than it was made for."
        )
        return Check("deterministic", False, sentence)
    among_all = answers[0][: len(few)]
    # In the last bits an output may depend on the number of images.
    is_other = ((in_pairs - among_all).abs() > 1e-3 * answers[0].abs().max()).any(1)
    if is_other.any():
        sentence = (
            f"The outputs for {_share(is_other)} of the images depend on the images beside them: what an attack finds "
            "depends on how images are divided."
        )
        return Check("deterministic", False, sentence)
    return Check("deterministic", True, "The same image gives the same output, bit for bit.")


def _outputs(network: nn.Module, images: ImageSet) -> Iterator[Check]:
    """Look at what the network returns, and at the derivative that a plain float32 attack would take of it."""
    with torch.enable_grad():
        pixels = images.pixels().requires_grad_()
        outputs: Tensor = network(pixels)
        loss = nn.functional.cross_entropy(outputs, images.labels, reduction="sum")
        gradient = derivative(loss, pixels)
    outputs = outputs.detach().double()
    are_probabilities = bool(((outputs >= 0) & (outputs <= 1)).all()) and _all_near(outputs.sum(1), 1.0)
    if are_probabilities or _all_near(outputs.exp().sum(1), 1.0):
        what = "probabilities" if are_probabilities else "log-probabilities"
        yield Check("logits", False, f"The network returns {what}: a softmax is taken twice, or gradients vanish.")
    else:
        yield Check("logits", True, "The network returns logits.")
    # An image that no logit depends on has none in any precision: the next check counts those.
    _, is_zero = Target(network).gradient_sign(images.pixels(), images.labels)
    is_lost = (gradient == 0) | gradient.isnan()  # logits beyond float32 have none
    vanished = is_lost.flatten(1).all(1) & ~is_zero
    if vanished.float().mean() > _TOLERANCE:
        sentence = (
            f"The logits are saturated: in float32 the derivative of the cross-entropy is lost for {_share(vanished)} "
            "of the images, so that a plain attack would find robustness that isn't there."
        )
        yield Check("saturation", False, sentence)
    else:
        sentence = f"The derivative vanishes in float32, and in float64 does not, for {_share(vanished)} of the images."
        yield Check("saturation", True, sentence)


def _zero_gradients(single: AttackResult) -> Check:
    n, zero = single.counts[0].n, single.n_zero_gradient
    sentence = f"{zero} of {n} images have a gradient that is zero in every pixel"
    if zero > _TOLERANCE * n:
        return Check("zero gradients", False, f"{sentence}: no attack by the gradient changes them.")
    return Check("zero gradients", True, f"{sentence}.")


def _curve(single: AttackResult) -> Iterator[Check]:
    counts, n = single.counts, single.counts[0].n

    def rise(pair: tuple[AttackCounts, AttackCounts]) -> int:
        return pair[1].adversarial_correct - pair[0].adversarial_correct

    pairs = list(itertools.pairwise(counts))
    # Below chance the attack has won: images go on from one wrong class to another, some by way of their own.
    steepest = max((pair for pair in pairs if pair[1].adversarial_acc > _CHANCE), key=rise, default=None)
    if steepest is not None and rise(steepest) > _TOLERANCE * n:
        a, b = steepest
        sentence = (
            f"Accuracy rises from {a.adversarial_acc:.1%} at epsilon {a.epsilon:g} to {b.adversarial_acc:.1%} at "
            f"{b.epsilon:g}: the gradient does not lead to where the network errs."
        )
        yield Check("falls with epsilon", False, sentence)
    else:
        most = max(map(rise, pairs))
        where = _WITHIN if most <= _TOLERANCE * n else "below chance"
        but = f", but for {most} of {n} images, {where}" if most > 0 else ""
        yield Check("falls with epsilon", True, f"Accuracy under FGSM falls as epsilon grows{but}.")
    last = counts[-1]
    sentence = f"Accuracy under FGSM at epsilon {last.epsilon:g} is {last.adversarial_acc:.1%}"
    if last.adversarial_acc > _CHANCE + _TOLERANCE:
        sentence += f", above chance ({_CHANCE:.0%}), though every pixel may become grey: gradients mislead."
        yield Check("reaches chance", False, sentence)
    else:
        within = "" if last.adversarial_acc <= _CHANCE else f", {_WITHIN}"
        yield Check("reaches chance", True, f"{sentence}, no more than chance{within}.")


def _strength(single: AttackResult, iterative: AttackResult, noise: AttackResult) -> Iterator[Check]:
    pairs = (
        ("iterative at least as strong", iterative, single, "PGD", "FGSM"),
        ("noise is weaker", single, noise, "FGSM", "noise"),
    )
    for name, strong, weak, strong_name, weak_name in pairs:
        excesses = [
            (s.adversarial_correct_given_clean - w.adversarial_correct_given_clean, s)
            for s, w in zip(strong.counts, weak.counts, strict=True)
        ]
        excess, worst = max(excesses, key=lambda found: found[0])
        more = f"At epsilon {worst.epsilon:g}, {excess} more images withstand {strong_name} than {weak_name}"
        if excess > _TOLERANCE * worst.n:
            yield Check(name, False, f"{more}: gradients are masked.")
        elif excess > 0:
            yield Check(name, True, f"{more}, of {worst.n}, {_WITHIN}.")
        else:
            yield Check(name, True, f"No fewer images withstand {weak_name} than {strong_name}.")


def _all_near(values: Tensor, expected: float) -> bool:
    return bool(((values - expected).abs() < 1e-4).all())


def _share(flags: Tensor) -> str:
    return f"{flags.double().mean():.1%}"
