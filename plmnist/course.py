"""The course of a training: from the initial weights, epoch by epoch, to networks that are measured on the way.

Engines do the steps (:mod:`plmnist.training`); here is what is the same whichever engine does them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from plmnist.config import Configuration
from plmnist.device import device_name
from plmnist.epochs import EpochRow
from plmnist.errors import TrainingError
from plmnist.evaluation import Metrics, evaluate
from plmnist.model import Classifier, initialise
from plmnist.networks import build
from plmnist.training_data import TrainingData, prepare_data

__all__ = ["Course", "Trained"]


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


def _check_finite(row: EpochRow, network: Classifier, config: Configuration) -> None:
    finite = math.isfinite(row.train.loss) and math.isfinite(row.val.loss)
    if not (finite and all(bool(p.isfinite().all()) for p in network.parameters())):
        raise TrainingError(
            f"the training diverged in epoch {row.epoch}: training loss {row.train.loss}, "
            f"validation loss {row.val.loss}",
            hint=f"Try a smaller learning_rate than {config.learning_rate}.",
        )
