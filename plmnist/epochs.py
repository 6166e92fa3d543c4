"""An epoch: the random choices that go into it, and the row of the learning curve that comes out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from plmnist.config import Configuration
from plmnist.evaluation import Metrics
from plmnist.streams import fill_mask, permutation, stream
from plmnist.training_data import Split, large_tensor

__all__ = ["EpochDraw", "EpochRow", "draw_epoch", "draw_order"]


@dataclass(frozen=True)
class EpochDraw:
    """The random choices of one epoch.

    Attributes
    ----------
    order
        Indices into the training part of the data set in the order in which they are used, int64, shape (n_train,).
    masks
        For each hidden layer the dropout mask, float32, shape (n_train, hidden_size), row i for the i-th image of
        `order`; empty without dropout.
    """

    order: Tensor
    masks: tuple[Tensor, ...]


@dataclass(frozen=True)
class EpochRow:
    """A line of the learning curve.

    `train` is measured during the epoch, on the batches as they came, with dropout; `val` after it, without.
    """

    epoch: int
    train: Metrics
    val: Metrics


def draw_epoch(config: Configuration, split: Split, epoch: int, *, reuse: EpochDraw | None = None) -> EpochDraw:
    """Draw batch order and, for the perceptron, dropout masks of an epoch from their streams.

    The masks of `reuse`, a draw for the same configuration that is no longer needed, are overwritten and returned.
    """
    n = len(split.train_rows)
    order = draw_order(config.seed, split, epoch)
    if config.dropout_prob == 0 or config.network != "mlp":
        return EpochDraw(order, ())
    source = stream(config.seed, "dropout", epoch=epoch)
    masks = reuse.masks if reuse else tuple(large_tensor(n, config.hidden_size) for _ in range(2))
    for mask in masks:
        fill_mask(source, config.dropout_prob, mask.numpy())
    return EpochDraw(order, masks)


def draw_order(seed: int, split: Split, epoch: int) -> Tensor:
    """Draw the order in which an epoch uses the training images: indices, int64, shape (n_train,)."""
    return split.train_rows[torch.from_numpy(permutation(stream(seed, "order", epoch=epoch), len(split.train_rows)))]
