"""Training: data split, random streams, epochs, and what comes out of them.

This module says what a training *is*; how the steps are done is the business of an engine. An engine is a function in
:data:`ENGINES`; all of these give the same weights, bit for bit, and a test asserts it. The stacked engine trains many
networks at once and comes near only (:mod:`plmnist.stacked_engine`). Nothing here reads or writes result
folders (that is :mod:`plmnist.results`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from plmnist.config import ENGINES as ENGINE_NAMES
from plmnist.config import STACKED, Configuration
from plmnist.data import ImageSet, load_test, load_train
from plmnist.device import choose_device, device_name, repeatable
from plmnist.errors import ConfigurationError, TrainingError, near_matches
from plmnist.evaluation import Metrics, evaluate, one_thread
from plmnist.model import Classifier, Network, initialise
from plmnist.networks import build
from plmnist.streams import fill_mask, permutation, stream

__all__ = [
    "ENGINES",
    "Course",
    "Engine",
    "EpochDraw",
    "EpochRow",
    "Split",
    "Trained",
    "TrainingData",
    "check_engine",
    "draw_epoch",
    "draw_order",
    "prepare_data",
    "train",
    "train_lengths",
]

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


@dataclass(frozen=True)
class Trained:
    """A trained network and its measurements, all of the weights it holds.

    Attributes
    ----------
    history
        One row per epoch.
    val, test
        Metrics of the final weights; `val` is that of the last row of `history`.
    engine
        What trained it.
    device
        Where it was trained: ``cpu``, or the product name of a GPU. The network here is always on the CPU.
    """

    config: Configuration
    network: Classifier
    history: tuple[EpochRow, ...]
    val: Metrics
    test: Metrics
    engine: str = "tensor"
    device: str = "cpu"

    @property
    def n_train(self) -> int:
        """Number of images trained on."""
        return self.history[-1].train.n


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
            out = _large_tensor(*grey.shape) if self._normalised is None else self._normalised[1]
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


class Engine(Protocol):
    """Train a network in place.

    After each epoch, counted from 1, the engine calls `after_epoch` with the epoch's row while the network holds the
    weights of that moment. What the callback raises ends the training.
    """

    def __call__(
        self,
        network: Classifier,
        config: Configuration,
        data: TrainingData,
        after_epoch: Callable[[EpochRow], None],
    ) -> None: ...


def draw_epoch(config: Configuration, split: Split, epoch: int, *, reuse: EpochDraw | None = None) -> EpochDraw:
    """Draw batch order and, for the perceptron, dropout masks of an epoch from their streams.

    The masks of `reuse`, a draw for the same configuration that is no longer needed, are overwritten and returned.
    """
    n = len(split.train_rows)
    order = draw_order(config.seed, split, epoch)
    if config.dropout_prob == 0 or config.network != "mlp":
        return EpochDraw(order, ())
    source = stream(config.seed, "dropout", epoch=epoch)
    masks = reuse.masks if reuse else tuple(_large_tensor(n, config.hidden_size) for _ in range(2))
    for mask in masks:
        fill_mask(source, config.dropout_prob, mask.numpy())
    return EpochDraw(order, masks)


def draw_order(seed: int, split: Split, epoch: int) -> Tensor:
    """Draw the order in which an epoch uses the training images: indices, int64, shape (n_train,)."""
    return split.train_rows[torch.from_numpy(permutation(stream(seed, "order", epoch=epoch), len(split.train_rows)))]


def _large_tensor(*shape: int) -> Tensor:
    # NumPy asks for huge pages, torch does not: filling 188 MB for the first time takes 0.06 s instead of 0.24 s, and
    # picking random rows from it half as long.
    return torch.from_numpy(np.empty(shape, np.float32))


def _tensor_engine(
    network: Classifier, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]
) -> None:
    if isinstance(network, Network):
        from plmnist.tensor_engine import fit

        fit(network, config, data, after_epoch)
    else:
        # Its derivatives are not worth writing out: almost all of the time goes into the convolutions.
        from plmnist import autograd_engine

        autograd_engine.fit(network, config, data, after_epoch)


def _lightning_engine(
    network: Classifier, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]
) -> None:
    from plmnist.module import fit

    fit(network, config, data, after_epoch)


ENGINES: dict[str, Engine] = {"tensor": _tensor_engine, "lightning": _lightning_engine}


def prepare_data(name: str, data_dir: Path | None = None) -> TrainingData:
    """Load and verify a data set for training; see :func:`plmnist.data.load_train` for where it is looked for."""
    return TrainingData(load_train(name, data_dir), load_test(name, data_dir))


def train(
    config: Configuration,
    *,
    data: TrainingData | None = None,
    data_dir: Path | None = None,
    engine: str = "tensor",
    device: str = "cpu",
) -> Trained:
    """Train one network and measure it.

    Parameters
    ----------
    config
        What to train; `fgsm_epsilon` has no influence.
    data
        The data set in memory; None loads it.
    data_dir
        Data folder to load from when `data` is None.
    engine
        Name in :data:`plmnist.config.ENGINES`; the result is the same for all but ``stacked``.
    device
        Name in :data:`plmnist.device.DEVICES`. On a GPU the weights differ from those of the CPU in their last bits,
        and training takes them further apart.

    Raises
    ------
    ConfigurationError
        If there is no such engine or device.
    DataError
        If the data set is missing or damaged.
    TrainingError
        If loss or weights stop being finite numbers.
    """
    result: list[Trained] = []
    train_lengths([config], result.append, data=data, data_dir=data_dir, engine=engine, device=device)
    return result[0]


def train_lengths(
    configs: Iterable[Configuration],
    on_trained: Callable[[Trained], None],
    *,
    data: TrainingData | None = None,
    data_dir: Path | None = None,
    engine: str = "tensor",
    device: str = "cpu",
) -> None:
    """Train networks that differ in nothing but `num_epochs`, as one training that is measured on the way.

    Each result is what :func:`train` gives for that configuration alone, bit for bit, because the streams are keyed by
    epoch and the learning rate is constant.

    Parameters
    ----------
    configs
        Configurations with one and the same `trajectory_key`.
    on_trained
        Called with each result as soon as it exists, shortest training first. The network is a copy and may be kept.

    Raises
    ------
    DataError, TrainingError
        As :func:`train`. A training that fails in epoch k has reported the results of fewer than k epochs.
    """
    check_engine(engine)
    if engine == STACKED:
        from plmnist.stacked_engine import train_stack

        together = list(configs)
        data = prepare_data(together[0].dataset, data_dir) if data is None else data
        train_stack([together], lambda _, trained: on_trained(trained), _reraise, data=data, device=device)
        return
    place = choose_device(device)
    with one_thread(), repeatable(place):
        course = Course(configs, on_trained, data=data, data_dir=data_dir, engine=engine, device=place)
        course.network.to(place)
        ENGINES[engine](course.network, course.config, course.data, course.after_epoch)


def _reraise(_: int, error: Exception) -> None:
    raise error


class Course:
    """A training that is measured on the way: the network, from its initial weights, and what becomes of it.

    Parameters
    ----------
    configs, on_trained, data, data_dir, engine
        As for :func:`train_lengths`.
    device
        Where an engine trains it. The network is made on the CPU.

    Attributes
    ----------
    config
        The longest of the configurations.
    network
        An engine changes its weights in place.
    """

    def __init__(
        self,
        configs: Iterable[Configuration],
        on_trained: Callable[[Trained], None],
        *,
        data: TrainingData | None,
        data_dir: Path | None = None,
        engine: str,
        device: torch.device,
    ) -> None:
        self._by_length = {config.num_epochs: config for config in configs}
        self.config = self._by_length[max(self._by_length)]
        if len({config.trajectory_key for config in self._by_length.values()}) > 1:
            raise ValueError("these configurations differ in more than their number of epochs")
        self.data = prepare_data(self.config.dataset, data_dir) if data is None else data
        split = self.data.split(self.config.seed)
        self.network = build(
            self.config.network,
            self.data.num_pixels,
            self.config.hidden_size,
            self.config.dropout_prob,
            mean=split.mean,
            std=split.std,
        )
        initialise(self.network, self.config.seed)
        self._on_trained = on_trained
        self._made_by = {"engine": engine, "device": device_name(device)}
        self._history: list[EpochRow] = []

    def is_due(self, epoch: int) -> bool:
        """Say whether a configuration's training ends with this epoch."""
        return epoch in self._by_length

    def after_epoch(self, row: EpochRow, test: Metrics | None = None) -> None:
        """Take notice of an epoch; report the configuration whose training it ends.

        Parameters
        ----------
        row
            The epoch's row; the network holds the weights of that moment.
        test
            Metrics on the test part; None has them measured here if they are needed.

        Raises
        ------
        TrainingError
            If loss or weights are not finite.
        """
        _check_finite(row, self.network, self.config)
        self._history.append(row)
        if self.is_due(row.epoch):
            self._on_trained(
                Trained(
                    config=self._by_length[row.epoch],
                    network=copy.deepcopy(self.network).cpu().eval(),
                    history=tuple(self._history),
                    val=row.val,
                    test=test or evaluate(self.network, self.data.test),
                    **self._made_by,
                )
            )


def check_engine(name: str) -> str:
    """Return `name` if there is such an engine, or raise :class:`ConfigurationError`."""
    if name not in ENGINE_NAMES:
        raise ConfigurationError(f"unknown engine {name!r}", hint=near_matches(name, ENGINE_NAMES))
    return name


def _check_finite(row: EpochRow, network: Classifier, config: Configuration) -> None:
    finite = math.isfinite(row.train.loss) and math.isfinite(row.val.loss)
    if not (finite and all(bool(p.isfinite().all()) for p in network.parameters())):
        raise TrainingError(
            f"the training diverged in epoch {row.epoch}: training loss {row.train.loss}, "
            f"validation loss {row.val.loss}",
            hint=f"Try a smaller learning_rate than {config.learning_rate}.",
        )
