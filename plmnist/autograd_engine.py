"""The default engine for networks other than the perceptron: a plain loop of modules, autograd and fused Adam.

What a step computes is what the Lightning engine's step computes, so the weights are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from plmnist.adversary import adversary_of
from plmnist.batches import HeldOut, TrainingBatches
from plmnist.config import Configuration
from plmnist.device import device_of
from plmnist.epochs import EpochRow
from plmnist.evaluation import Metrics, cross_entropy, log_probabilities, measure
from plmnist.model import Classifier
from plmnist.training_data import TrainingData

__all__ = ["fit"]


def fit(
    network: Classifier, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]
) -> None:
    """Train `network` in place; see :class:`plmnist.training.Engine`."""
    split, device, adversary = data.split(config.seed), device_of(network), adversary_of(config)
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    for epoch in range(1, config.num_epochs + 1):
        network.train()
        log_probs: list[Tensor] = []
        seen: list[Tensor] = []
        for batch in TrainingBatches(config, data, split, epoch):
            images, labels, masks, *starts = batch
            images, labels, masks = images.to(device), labels.to(device), tuple(mask.to(device) for mask in masks)
            if adversary is not None:
                images = adversary.alter(network, images, labels, masks, starts[0].to(device))
            logits = network(images, masks)
            optimiser.zero_grad()
            torch.autograd.backward(cross_entropy(logits, labels))
            optimiser.step()
            log_probs.append(log_probabilities(logits.detach()))
            seen.append(labels)
        train = measure(torch.cat(log_probs, 1), torch.cat(seen))
        after_epoch(EpochRow(epoch, train, _evaluate(network, HeldOut(data, split), device)))


@torch.no_grad()
def _evaluate(network: Classifier, held_out: HeldOut, device: torch.device) -> Metrics:
    network.eval()
    answers = [(log_probabilities(network(images.to(device))), labels.to(device)) for images, labels in held_out]
    return measure(torch.cat([log_probs for log_probs, _ in answers], 1), torch.cat([labels for _, labels in answers]))
