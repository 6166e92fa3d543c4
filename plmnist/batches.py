"""The batches of a training as modules take them: pixels, labels, and every random choice that a step needs.

The tensor engine, which trains the perceptron without autograd, has its own way to the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from plmnist.adversary import RandomStarts
from plmnist.config import Configuration
from plmnist.convnet import ConvMasks
from plmnist.epochs import draw_epoch
from plmnist.evaluation import EVALUATION_ROWS
from plmnist.training_data import Split, TrainingData

__all__ = ["HeldOut", "TrainingBatch", "TrainingBatches"]

TrainingBatch = tuple[Tensor, Tensor, Sequence[Tensor]] | tuple[Tensor, Tensor, Sequence[Tensor], Tensor]
"""Pixels (n, 1, H, W), labels, dropout masks and, in adversarial training, where the attack begins."""


class TrainingBatches:
    """One epoch: can be walked through once, and has a length."""

    def __init__(self, config: Configuration, data: TrainingData, split: Split, epoch: int) -> None:
        self.config, self.data, self.split, self.epoch = config, data, split, epoch

    def __len__(self) -> int:
        return -(-len(self.split.train_rows) // self.config.batch_size)

    def __iter__(self) -> Iterator[TrainingBatch]:
        config, train = self.config, self.data.train
        draw = draw_epoch(config, self.split, self.epoch)
        rows_of_masks = [torch.split(mask, config.batch_size) for mask in draw.masks]
        of_convolutions = None
        if config.network == "cnn":
            of_convolutions = ConvMasks(
                config.seed,
                self.epoch,
                num_pixels=self.data.num_pixels,
                hidden_size=config.hidden_size,
                dropout_prob=config.dropout_prob,
            )
        starts = None if config.training == "standard" else RandomStarts(config.seed, self.epoch)
        for i, rows in enumerate(torch.split(draw.order, config.batch_size)):
            pixels, labels = train.images[rows].float().div_(train.full_scale), train.labels[rows]
            masks = of_convolutions.take(len(rows)) if of_convolutions else tuple(mask[i] for mask in rows_of_masks)
            if starts is None:
                yield pixels, labels, masks
            else:
                yield pixels, labels, masks, starts.take(pixels)


class HeldOut:
    """The images held out for validation, in the batches in which everything is measured."""

    def __init__(self, data: TrainingData, split: Split) -> None:
        self.data, self.rows = data, torch.split(split.val_rows, EVALUATION_ROWS)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        train = self.data.train
        for rows in self.rows:
            yield train.images[rows].float().div_(train.full_scale), train.labels[rows]
