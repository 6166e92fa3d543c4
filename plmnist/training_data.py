"""What networks are trained on: a data set in memory, and its division into images trained on and images held out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plmnist.data import ImageSet, load_test, load_train
from plmnist.errors import TrainingError
from plmnist.streams import permutation, stream

__all__ = ["Split", "TrainingData", "large_tensor", "prepare_data"]

VALIDATION_SHARE = 12
"""One of this many training images is held out for validation: 5,000 of the 60,000 of MNIST."""


@dataclass(frozen=True)
class Split:
    """Division of the training images into those trained on and those held out.

    Attributes
    ----------
    train_rows, val_rows
        Indices into the training part of the data set, int64.
    mean, std
        Of all pixels trained on, in pixel units.
    """

    train_rows: Tensor
    val_rows: Tensor
    mean: float
    std: float


class TrainingData:
    """A data set in memory, with what several trainings on it can share.

    Parameters
    ----------
    train, test
        The two parts of the data set.
    """

    def __init__(self, train: ImageSet, test: ImageSet) -> None:
        self.train = train
        self.test = test
        self._splits: dict[int, Split] = {}
        self._normalised: tuple[tuple[float, float], Tensor] | None = None

    @property
    def num_pixels(self) -> int:
        """Pixels of one image."""
        return self.train.images[0].numel()

    def split(self, seed: int) -> Split:
        """Return the split drawn from the ``split`` stream of a seed; nothing else influences it."""
        if seed not in self._splits:
            n = len(self.train)
            order = torch.from_numpy(permutation(stream(seed, "split"), n))
            n_val = n // VALIDATION_SHARE
            train_rows, val_rows = order[n_val:].sort().values, order[:n_val].sort().values
            self._splits[seed] = Split(train_rows, val_rows, *self._moments(train_rows))
        return self._splits[seed]

    def normalised(self, split: Split) -> Tensor:
        """Return all training-part images, flattened and normalised as the network would, shape (N, H * W).

        Normalisation is elementwise, so doing it once for all images gives the same bits as doing it in every step.
        The last result is kept: trainings that follow one another often share the split.
        """
        key = (split.mean, split.std)
        if self._normalised is None or self._normalised[0] != key:
            grey = self.train.images.flatten(1)
            out = large_tensor(*grey.shape) if self._normalised is None else self._normalised[1]
            mean, std = out.new_tensor([split.mean, split.std])
            factor = std.reciprocal()
            # Pieces that fit the cache: one pass over memory instead of four.
            for raw, row in zip(torch.split(grey, 256), torch.split(out, 256), strict=True):
                row.copy_(raw).div_(self.train.full_scale).sub_(mean).mul_(factor)
            self._normalised = (key, out)
        return self._normalised[1]

    @cached_property
    def _image_sums(self) -> tuple[Tensor, Tensor]:
        """Sums of the grey values and of their squares for each image, exact."""
        sums, squares = [], []
        for piece in torch.split(self.train.images.flatten(1), 128):
            grey = piece.double()
            sums.append(grey.sum(1))
            squares.append(grey.mul_(grey).sum(1))
        return torch.cat(sums), torch.cat(squares)

    def _moments(self, rows: Tensor) -> tuple[float, float]:
        sums, squares = self._image_sums
        n = len(rows) * self.num_pixels
        mean = float(sums[rows].sum()) / n
        variance = float(squares[rows].sum()) / n - mean**2
        scale = self.train.full_scale
        if variance <= 0:
            raise TrainingError("the training images are all one grey value: there is nothing to learn from")
        return mean / scale, math.sqrt(variance) / scale


def large_tensor(*shape: int) -> Tensor:
    """Return a float32 tensor on the CPU with whatever its memory holds."""
    # NumPy asks for huge pages, torch does not: filling 188 MB for the first time takes 0.06 s instead of 0.24 s, and
    # picking random rows from it half as long.
    return torch.from_numpy(np.empty(shape, np.float32))


def prepare_data(name: str, data_dir: Path | None = None) -> TrainingData:
    """Load and verify a data set for training; see :func:`plmnist.data.load_train` for where it is looked for."""
    return TrainingData(load_train(name, data_dir), load_test(name, data_dir))
