"""The attacks: what to change in an image, by at most epsilon, so that a network errs.

One contract for all: an attack fills a tensor with one altered copy of every image for each budget, in [0, 1] and no
farther than the budget from the image; what it draws at random depends on the seed and on the image's position in its
set, so results do not depend on how the images are divided. Counting what survives is the business of
:mod:`plmnist.attacks`. Another attack is a class with the members of :class:`Attack` and a row of the contract test;
``docs/attacks.md`` shows one, and where its name belongs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from plmnist.errors import PlmnistError
from plmnist.model import Classifier
from plmnist.networks import TYPES
from plmnist.streams import stream, uniform

__all__ = ["ATTACKS", "PGD", "Attack", "FastGradientSign", "Noise", "Target", "climb", "derivative", "perturb"]


class Target:
    """A network under attack: its logits in its own precision, and derivatives from a copy in float64.

    Parameters
    ----------
    network
        Takes pixels in [0, 1] and returns logits (N, 10). It must be in evaluation mode while it is attacked, and is
        never changed.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        self._fast: nn.Module = network
        self._rows = Classifier.rows_at_once
        self._twin: nn.Module
        if type(network) in TYPES.values():  # a class derived from one may compute something else
            assert isinstance(network, Classifier)
            self._rows = network.rows_at_once
            self._fast, self._twin = network.folded(torch.float32), network.folded()
        else:
            self._twin = copy.deepcopy(network).double().eval().requires_grad_(False)

    def predict(self, images: Tensor) -> Tensor:
        """Return the classes of images, shape (N,)."""
        with torch.inference_mode():
            classes: Tensor = self._network(images).argmax(1)
        return classes

    def predict_many(self, images: Tensor) -> Tensor:
        """Return the classes of images by the fastest way; logits may differ in the last bits of the precision."""
        with torch.inference_mode():
            return torch.cat([self._fast(piece).argmax(1) for piece in torch.split(images, self._rows)])

    def gradient_sign(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sign of the derivative of the cross-entropy by the pixels, and which images have none.

        Parameters
        ----------
        images
            Pixels, shape (N, 1, H, W).
        labels
            True classes, shape (N,).

        Returns
        -------
        tuple of Tensor
            Signs, of the type and shape of `images`; shape (N,), true where the derivative is zero in every pixel.

        Raises
        ------
        PlmnistError
            If the gradient is not finite.

        Notes
        -----
        For a confident network the derivative of the cross-entropy underflows: with logits z, true class y and
        probabilities p it is ``sum over j != y of p_j (dz_j - dz_y)``, and all p_j with j != y may be too small for any
        floating-point type, which would pass for robustness. Dividing by ``1 - p_y`` leaves the sign unchanged and
        gives ``sum over j != y of q_j dz_j - dz_y`` with q the softmax over the wrong classes, which can't underflow.
        It is taken in float64, so that cancellation between its terms does not decide the sign either.
        """
        pieces = zip(torch.split(images, self._rows), torch.split(labels, self._rows), strict=True)
        found = [self._gradient_sign(*piece) for piece in pieces]
        return found[0] if len(found) == 1 else (torch.cat([s for s, _ in found]), torch.cat([z for _, z in found]))

    def _gradient_sign(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            pixels = images.detach().double().requires_grad_()
            logits = self._twin(pixels)
            truth = labels[:, None]
            weights = torch.softmax(logits.detach().scatter(1, truth, -torch.inf), 1).scatter_(1, truth, -1.0)
            # Given the weights as an argument of its own, torch would import half a second's worth of symbolic algebra.
            gradient = derivative((logits * weights).sum(), pixels)
        # One cheap pass answers both: is it finite, and which images might have none?
        sums = gradient.flatten(1).sum(1)
        if not sums.sum().isfinite():
            raise PlmnistError(
                "the gradient of the network by the pixels is not finite",
                hint="The network is damaged or did not train; train it again.",
            )
        is_zero = sums == 0
        if is_zero.any():
            is_zero[is_zero.clone()] = (gradient[is_zero] == 0).flatten(1).all(1)
        return gradient.sign_().to(images.dtype), is_zero


class Attack(Protocol):
    """What every attack is."""

    name: ClassVar[str]

    def settings(self) -> dict[str, float | int | bool]:
        """Return what a record must say about the attack besides its name and the epsilons."""

    def fill(
        self, out: Tensor, target: Target, pixels: Tensor, labels: Tensor, epsilons: Sequence[float], *, first: int
    ) -> int:
        """Write altered images.

        Parameters
        ----------
        out
            Receives them, float32, shape (e, N, 1, H, W).
        target
            The network.
        pixels, labels
            Images, shape (N, 1, H, W), and their true classes, shape (N,).
        epsilons
            The budgets, e of them, in pixel units and above 0.
        first
            Position of the first image in its set.

        Returns
        -------
        int
            Images whose gradient is zero in every pixel, as far as the attack looked.
        """


def derivative(loss: Tensor, pixels: Tensor) -> Tensor:
    """Return the derivative of a loss by the pixels, shape of `pixels`: zero if the network cuts it off."""
    if not loss.requires_grad:
        return torch.zeros_like(pixels)
    (found,) = torch.autograd.grad(loss, pixels, allow_unused=True)
    return torch.zeros_like(pixels) if found is None else found


def perturb(images: Tensor, direction: Tensor, epsilons: Sequence[float], out: Tensor) -> Tensor:
    """Fill `out` with the images moved along `direction`, in [-1, 1], by each epsilon and clipped to [0, 1]."""
    budgets = torch.tensor(epsilons, dtype=images.dtype, device=images.device).reshape(-1, *[1] * images.dim())
    return torch.addcmul(images, direction, budgets, out=out).clamp_(0.0, 1.0)


def climb(
    pixels: Tensor,
    start: Tensor,
    epsilon: float,
    *,
    steps: int,
    step_size: float,
    direction: Callable[[Tensor], Tensor],
    clip_start: bool = True,
) -> Tensor:
    """Return images altered step by step, each step brought back into the budget and [0, 1].

    Parameters
    ----------
    pixels
        The images, in [0, 1].
    start
        Where to begin, in [-1, 1] and in units of `epsilon`, shape of `pixels`.
    step_size
        Length of a step, in units of `epsilon`.
    direction
        Returns for altered images where to go, in [-1, 1] for each pixel.
    clip_start
        Whether the start, too, is brought into [0, 1].
    """
    low, high = (pixels - epsilon).clamp_(min=0.0), (pixels + epsilon).clamp_(max=1.0)
    moved = torch.add(pixels, start, alpha=epsilon)
    if clip_start:
        moved.clamp_(low, high)
    for _ in range(steps):
        moved = moved.add_(direction(moved), alpha=step_size * epsilon).clamp_(low, high)
    return moved


@dataclass(frozen=True)
class FastGradientSign:
    """One step of the whole budget along the sign of the gradient (Goodfellow, Shlens and Szegedy 2015, section 4).

    The gradient does not depend on the budget, so it is computed once for all of them.
    """

    name: ClassVar[str] = "fgsm"

    def settings(self) -> dict[str, float | int | bool]:
        return {}

    def fill(
        self, out: Tensor, target: Target, pixels: Tensor, labels: Tensor, epsilons: Sequence[float], *, first: int
    ) -> int:
        sign, is_zero = target.gradient_sign(pixels, labels)
        perturb(pixels, sign, epsilons, out)
        return int(is_zero.sum())


@dataclass(frozen=True)
class Noise:
    """Independent uniform noise in [-epsilon, epsilon]: the control. What it can do is no merit of an attack.

    It changes a pixel by half the budget on average, and less than random signs of the whole budget would. The same
    noise, scaled, is used for all budgets and all networks.
    """

    name: ClassVar[str] = "noise"
    seed: int = 0

    def settings(self) -> dict[str, float | int | bool]:
        return asdict(self)

    def fill(
        self, out: Tensor, target: Target, pixels: Tensor, labels: Tensor, epsilons: Sequence[float], *, first: int
    ) -> int:
        perturb(pixels, _drawn(self.seed, "noise", first, pixels), epsilons, out)
        return 0


@dataclass(frozen=True)
class PGD:
    """Projected gradient descent (Madry, Makelov, Schmidt, Tsipras and Vladu 2018, section 2.1; L-infinity).

    From a random point within the budget, `steps` steps of equal length along the sign of the gradient, each brought
    back into the budget and [0, 1]; an image that withstood is tried again from another point, `restarts` times in
    all. What fools the network within a smaller budget does so within a larger one, so an image is attacked only until
    it is fooled, with budgets from small to large; one that is misclassified to begin with stays as it is.

    Attributes
    ----------
    steps
        Steps of each attempt, at least 1.
    step_size
        Length of a step, in units of epsilon. Madry et al. take 2.5 / steps: enough to cross the budget and come back.
    restarts
        Attempts for each image and budget, at least 1.
    random_start
        Whether attempts begin at a random point; without, at the image.
    """

    name: ClassVar[str] = "pgd"
    steps: int = 40
    step_size: float = 2.5 / 40
    restarts: int = 1
    random_start: bool = True
    seed: int = 0

    def settings(self) -> dict[str, float | int | bool]:
        return asdict(self)

    def fill(
        self, out: Tensor, target: Target, pixels: Tensor, labels: Tensor, epsilons: Sequence[float], *, first: int
    ) -> int:
        starts = [
            _drawn(self.seed, f"pgd {restart}", first, pixels) if self.random_start else torch.zeros_like(pixels)
            for restart in range(self.restarts)
        ]
        best = pixels.clone()
        standing = (target.predict(pixels) == labels).nonzero()[:, 0]
        is_zero = torch.zeros(len(pixels), dtype=torch.bool, device=pixels.device)
        for which in sorted(range(len(epsilons)), key=lambda i: epsilons[i]):
            for start in starts:
                if len(standing) == 0:
                    break
                found, zero = self._climb(target, pixels[standing], labels[standing], start[standing], epsilons[which])
                is_zero[standing] |= zero
                best[standing] = found
                standing = standing[target.predict(found) == labels[standing]]
            out[which] = best
        return int(is_zero.sum())

    def _climb(
        self, target: Target, pixels: Tensor, labels: Tensor, start: Tensor, epsilon: float
    ) -> tuple[Tensor, Tensor]:
        is_zero = torch.ones(len(pixels), dtype=torch.bool, device=pixels.device)

        def direction(moved: Tensor) -> Tensor:
            sign, zero = target.gradient_sign(moved, labels)
            is_zero.logical_and_(zero)
            return sign

        moved = climb(pixels, start, epsilon, steps=self.steps, step_size=self.step_size, direction=direction)
        return moved, is_zero


ATTACKS: dict[str, Callable[..., Attack]] = {attack.name: attack for attack in (FastGradientSign, PGD, Noise)}
"""The attacks by name."""


def _drawn(seed: int, purpose: str, first: int, like: Tensor) -> Tensor:
    """Return numbers uniform in [-1, 1), a stream for each image."""
    shape = tuple(like.shape[1:])
    rows = [torch.from_numpy(uniform(stream(seed, purpose, epoch=first + i), shape, 1.0)) for i in range(len(like))]
    return torch.stack(rows).to(like.device, like.dtype)
