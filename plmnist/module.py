"""The network as a LightningModule, and the engine that trains it with Lightning's Trainer.

The arithmetic is that of ordinary PyTorch: modules, autograd, ``torch.optim.Adam``. It serves people who know
Lightning, and it is the second opinion that the default engine is tested against.
"""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from plmnist.adversary import Adversary, adversary_of
from plmnist.batches import HeldOut, TrainingBatch, TrainingBatches
from plmnist.config import Configuration
from plmnist.device import device_of
from plmnist.epochs import EpochRow
from plmnist.evaluation import Metrics, cross_entropy, log_probabilities, measure
from plmnist.model import Classifier
from plmnist.training_data import TrainingData

__all__ = ["LitMNIST", "StudyData", "fit"]

Batch = tuple[Tensor, Tensor] | TrainingBatch


class LitMNIST(pl.LightningModule):
    """Train, validate and test a :class:`plmnist.model.Classifier`.

    Parameters
    ----------
    network
        The network; it takes pixels in [0, 1] and returns logits.
    learning_rate
        Step size of Adam.
    adversary
        The attack on the images of each training step; None trains on the images themselves.

    Notes
    -----
    A batch is ``(images, labels)`` or, for a training with given random choices, ``(images, labels, masks)`` or
    ``(images, labels, masks, starts)``: the dropout masks, and where the attack on the images begins
    (:class:`plmnist.adversary.Adversary`). What is not given is drawn from torch's random state. Logged are
    ``train_loss``, ``train_acc``, ``val_loss``, ``val_acc``, ``test_loss`` and ``test_acc``, once per epoch; the
    training metrics are those of the batches as they came, after the attack if there is one.
    """

    def __init__(self, network: Classifier, learning_rate: float, adversary: Adversary | None = None) -> None:
        super().__init__()
        self.network = network
        self.learning_rate = learning_rate
        self.adversary = adversary
        self.metrics: dict[str, Metrics] = {}
        self._outputs: dict[str, list[tuple[Tensor, Tensor]]] = {"train": [], "val": [], "test": []}

    def forward(self, images: Tensor) -> Tensor:
        """Return logits, shape (N, 10)."""
        logits: Tensor = self.network(images)
        return logits

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the mean cross-entropy of a batch."""
        images, labels, masks, starts = (*batch, None, None)[:4]
        if self.adversary is not None:
            if starts is None:
                starts = torch.empty_like(images).uniform_(-1.0, 1.0)
            images = self.adversary.alter(self.network, images, labels, masks, starts)
        logits = self.network(images, masks)
        self._outputs["train"].append((logits.detach(), labels))
        return cross_entropy(logits, labels)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of a batch for the metrics of the epoch."""
        self._outputs["val"].append((self.network(batch[0]), batch[1]))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Keep the logits of a batch for the metrics of the test."""
        self._outputs["test"].append((self.network(batch[0]), batch[1]))

    def on_train_epoch_end(self) -> None:
        self._finish("train")

    def on_validation_epoch_end(self) -> None:
        self._finish("val")

    def on_test_epoch_end(self) -> None:
        self._finish("test")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return Adam with the defaults of Kingma and Ba (2015) but for the step size."""
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate, fused=True)

    def _finish(self, part: str) -> None:
        log_probs = torch.cat([log_probabilities(logits) for logits, _ in self._outputs[part]], 1)
        metrics = measure(log_probs, torch.cat([labels for _, labels in self._outputs[part]]))
        self._outputs[part].clear()
        self.metrics[part] = metrics
        self.log_dict({f"{part}_loss": metrics.loss, f"{part}_acc": metrics.acc})


class StudyData(pl.LightningDataModule):
    """The batches of a configuration, drawn from its random streams.

    Each call of :meth:`train_dataloader` belongs to one epoch, so the Trainer needs
    ``reload_dataloaders_every_n_epochs=1``.
    """

    def __init__(self, config: Configuration, data: TrainingData) -> None:
        super().__init__()
        self.config = config
        self.data = data
        self.split = data.split(config.seed)

    def train_dataloader(self) -> TrainingBatches:
        assert self.trainer is not None
        return TrainingBatches(self.config, self.data, self.split, self.trainer.current_epoch + 1)

    def val_dataloader(self) -> HeldOut:
        return HeldOut(self.data, self.split)


class _Report(pl.Callback):
    def __init__(self, after_epoch: Callable[[EpochRow], None]) -> None:
        self.after_epoch = after_epoch

    # Lightning calls callbacks before the module's own hook of the same name, and validates before it ends a training
    # epoch: at the start of the next epoch, or at the end of the fit, both metrics are there.
    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.current_epoch > 0:
            self._report(trainer.current_epoch, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._report(trainer.current_epoch, pl_module)

    def _report(self, epoch: int, module: Any) -> None:
        self.after_epoch(EpochRow(epoch, module.metrics["train"], module.metrics["val"]))


def fit(
    network: Classifier,
    config: Configuration,
    data: TrainingData,
    after_epoch: Callable[[EpochRow], None],
    *,
    log_dir: Path | None = None,
) -> None:
    """Train `network` in place with Lightning's Trainer; see :class:`plmnist.training.Engine`.

    Parameters
    ----------
    log_dir
        Where Lightning's CSV logger writes; None means a temporary folder that is deleted.
    """
    device = device_of(network)
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        # Lightning's advice: more workers (the data are in memory), srun (one network is trained by one thread), more
        # frequent logs.
        warnings.filterwarnings("ignore", category=PossibleUserWarning)
        # Lightning asks torch itself, whose answer comes with a deprecation of its own.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="torch.*|lightning.*")
        warnings.filterwarnings("ignore", category=FutureWarning, module="torch.*|lightning.*")
        logger = logging.getLogger("lightning.pytorch")
        level = logger.level
        logger.setLevel(logging.WARNING)
        try:
            trainer = pl.Trainer(
                accelerator="gpu" if device.type == "cuda" else "cpu",
                devices=1 if device.index is None else [device.index],
                # Left to itself Lightning looks for Slurm and takes the tasks of a cluster job for its own workers.
                plugins=[LightningEnvironment()],
                max_epochs=config.num_epochs,
                logger=CSVLogger(log_dir or scratch, name="lightning"),
                callbacks=[_Report(after_epoch)],
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                num_sanity_val_steps=0,
                log_every_n_steps=10**9,
                reload_dataloaders_every_n_epochs=1,
            )
            network.train()
            try:
                module = LitMNIST(network, config.learning_rate, adversary_of(config))
                trainer.fit(module, datamodule=StudyData(config, data))
            except SystemExit as stopped:
                # Lightning ends the process on Ctrl-C. Whoever called decides that here.
                raise KeyboardInterrupt from stopped
        finally:
            logger.setLevel(level)
