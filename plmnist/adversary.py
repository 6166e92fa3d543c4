"""Adversarial training: what a step makes of its images before it learns from them.

The gradient is that of the loss which the step is about to lower: of the network as it is in training, with the step's
own dropout masks. It is taken in single precision, as the authors do; whether the result is robust is for the attacks
of :mod:`plmnist.perturbations` to say, which take theirs in double precision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from plmnist.config import Configuration
from plmnist.evaluation import cross_entropy
from plmnist.perturbations import climb
from plmnist.streams import fill_uniform, stream

__all__ = ["Adversary", "RandomStarts", "adversary_of"]


@dataclass(frozen=True)
class Adversary:
    """An attack that is made in every training step, from a random point within the budget.

    Attributes
    ----------
    epsilon
        L-infinity budget in pixel units.
    steps
        Steps along the sign of the gradient, each brought back into the budget and [0, 1].
    step_size
        Length of a step, in units of epsilon.
    clip_start
        Whether the random point is brought into [0, 1] before the gradient is taken there. What is black would start at
        black in half of all cases, and end at the full budget almost always: for large budgets the network then learns
        to withstand that and nothing else.
    """

    epsilon: float
    steps: int
    step_size: float
    clip_start: bool = True

    def settings(self) -> dict[str, float]:
        """Return what the record of a training must say about its attack."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("clip_start", True)}

    def attack(self, pixels: Tensor, starts: Tensor, gradient: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the images to learn from.

        Parameters
        ----------
        pixels, starts
            Images in [0, 1], and for each pixel where between -1 and 1 budgets the attack begins; of one shape.
        gradient
            Returns the derivative of the loss by the pixels of altered images; it may be overwritten.
        """
        return climb(
            pixels,
            starts,
            self.epsilon,
            steps=self.steps,
            step_size=self.step_size,
            direction=lambda moved: gradient(moved).sign_(),
            clip_start=self.clip_start,
        )

    def alter(
        self, network: nn.Module, images: Tensor, labels: Tensor, masks: Sequence[Tensor] | None, starts: Tensor
    ) -> Tensor:
        """Return what the attack makes of a batch, with derivatives by autograd; `network` takes images and masks."""

        def gradient(moved: Tensor) -> Tensor:
            pixels = moved.detach().requires_grad_()
            (found,) = torch.autograd.grad(cross_entropy(network(pixels, masks), labels), pixels)
            return found

        return self.attack(images, starts, gradient)


class RandomStarts:
    """The random points from which the attacks of one epoch begin, batch after batch."""

    def __init__(self, seed: int, epoch: int) -> None:
        self._source = stream(seed, "start", epoch=epoch)

    def take(self, like: Tensor) -> Tensor:
        """Return numbers in (-1, 1) for the next batch, of the shape and on the device of its images."""
        out = np.empty(tuple(like.shape), np.float32)
        fill_uniform(self._source, out)
        return torch.from_numpy(out).to(like.device)


_ADVERSARIES: dict[str, Callable[[float], Adversary]] = {
    "fgsm": lambda epsilon: Adversary(epsilon, steps=1, step_size=1.25, clip_start=False),
    "pgd": lambda epsilon: Adversary(epsilon, steps=7, step_size=2.5 / 7),
}
"""``fgsm``: Wong, Rice and Kolter 2020, "Fast is better than free", algorithm 3, with their step of 1.25 epsilon.
``pgd``: Madry et al. 2018, section 2.1; seven steps as in their training on CIFAR10, of 2.5 epsilon in all."""


def adversary_of(config: Configuration) -> Adversary | None:
    """Return the attack in the training steps of a configuration, or None for standard training."""
    if config.training == "standard":
        return None
    return _ADVERSARIES[config.training](config.training_epsilon)
