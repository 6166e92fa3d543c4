"""Training: one network, or the several lengths of one training, by an engine of choice.

An engine does the steps; it is a function in :data:`ENGINES`. All of these give the same weights, bit for bit, and a
test asserts it. The stacked engine trains many networks at once and comes near only (:mod:`plmnist.stacked_engine`).
What is the same for all of them lies below: the data and their split (:mod:`plmnist.training_data`), the random choices
of an epoch (:mod:`plmnist.epochs`), and what is measured on the way (:mod:`plmnist.course`). Nothing here reads or
writes result folders (that is :mod:`plmnist.results`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from plmnist import autograd_engine, tensor_engine
from plmnist.config import ENGINES as ENGINE_NAMES
from plmnist.config import STACKED, Configuration
from plmnist.course import Course, Trained
from plmnist.device import choose_device, repeatable
from plmnist.epochs import EpochRow
from plmnist.errors import ConfigurationError, near_matches
from plmnist.evaluation import one_thread
from plmnist.model import Classifier, Network
from plmnist.training_data import TrainingData, prepare_data

__all__ = [
    "ENGINES",
    "Engine",
    "Trained",
    "TrainingData",
    "check_engine",
    "prepare_data",
    "train",
    "train_lengths",
]


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


def _tensor_engine(
    network: Classifier, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]
) -> None:
    if isinstance(network, Network):
        tensor_engine.fit(network, config, data, after_epoch)
    else:
        # Its derivatives are not worth writing out: almost all of the time goes into the convolutions.
        autograd_engine.fit(network, config, data, after_epoch)


def _lightning_engine(
    network: Classifier, config: Configuration, data: TrainingData, after_epoch: Callable[[EpochRow], None]
) -> None:
    from plmnist.module import fit

    fit(network, config, data, after_epoch)


ENGINES: dict[str, Engine] = {"tensor": _tensor_engine, "lightning": _lightning_engine}


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


def check_engine(name: str) -> str:
    """Return `name` if there is such an engine, or raise :class:`ConfigurationError`."""
    if name not in ENGINE_NAMES:
        raise ConfigurationError(f"unknown engine {name!r}", hint=near_matches(name, ENGINE_NAMES))
    return name
