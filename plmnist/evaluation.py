"""Measuring a network: counts of correct answers and mean loss.

Every rate is derived from integers kept beside it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from plmnist.data import ImageSet
from plmnist.device import device_of, repeatable

__all__ = [
    "EVALUATION_ROWS",
    "Metrics",
    "cross_entropy",
    "evaluate",
    "log_probabilities",
    "logits_of",
    "measure",
    "one_thread",
]

EVALUATION_ROWS = 500
"""Images per forward pass when evaluating. Fixed, because the last bits of a matrix product may depend on its shape."""


@dataclass(frozen=True)
class Metrics:
    """How a network does on a set of images.

    Attributes
    ----------
    n
        Number of images.
    correct
        Images whose largest logit is that of their class.
    loss
        Mean cross-entropy in nats.
    """

    n: int
    correct: int
    loss: float

    @property
    def acc(self) -> float:
        """Share of correct answers among all `n` images."""
        return self.correct / self.n


def log_probabilities(logits: Tensor) -> Tensor:
    """Return log-probabilities, classes first: shape (10, N) for logits of shape (N, 10).

    Along the first dimension torch computes the softmax of many images with each vector instruction; along the last one
    it takes ten times as long for ten classes. Training, evaluation and both engines use this one form, because the
    two differ in the last bits.
    """
    return torch.log_softmax(logits.t().contiguous(), 0)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats, differentiable; logits (N, 10), labels (N,)."""
    return nn.functional.nll_loss(log_probabilities(logits).t(), labels)


def measure(log_probs: Tensor, labels: Tensor) -> Metrics:
    """Return the metrics for log-probabilities, classes first, shape (10, N)."""
    chosen = log_probs.gather(0, labels[None]).double()
    # argmax is fast along the last dimension of contiguous memory only.
    correct = int((log_probs.t().contiguous().argmax(1) == labels).sum())
    return Metrics(n=len(labels), correct=correct, loss=-float(chosen.sum()) / len(labels))


def logits_of(network: nn.Module, images: ImageSet) -> Tensor:
    """Return the logits of a network in evaluation mode for all images, float32, shape (N, 10), on its device."""
    device = device_of(network)
    images = images.to(device)
    with torch.inference_mode(), evaluation_mode(network), repeatable(device):
        parts = []
        for start in range(0, len(images), EVALUATION_ROWS):
            parts.append(network(images.pixels(slice(start, start + EVALUATION_ROWS))))
        return torch.cat(parts)


def evaluate(network: nn.Module, images: ImageSet) -> Metrics:
    """Return the metrics of a network on a set of images; its mode and gradients are left as they were."""
    log_probs = log_probabilities(logits_of(network, images))
    return measure(log_probs, images.labels.to(log_probs.device))


@contextlib.contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network, with all its layers, in evaluation mode for a while."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread for a while: results depend on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
