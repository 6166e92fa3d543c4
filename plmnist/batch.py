"""Many folders in one process: read configurations, share trainings, keep failures apart.

Each folder holds a configuration and receives its results. Folders that need the same network share one training, and
so do trainings that differ only in length; a network that a neighbouring folder has already is copied. What one folder
does wrong never stops another. torch is imported only when something has to be computed.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from plmnist import results
from plmnist.config import CURVE, Configuration
from plmnist.errors import PlmnistError, ResultError
from plmnist.provenance import Recorder
from plmnist.registry import DATASETS

if TYPE_CHECKING:
    from plmnist.attacks import AttackResult
    from plmnist.data import ImageSet
    from plmnist.model import Network
    from plmnist.perturbations import Attack
    from plmnist.training import Trained, TrainingData

T = TypeVar("T")

LEGACY = "fgsm_legacy"

__all__ = ["Listener", "attack_folders", "train_folders"]


class Listener(Protocol):
    """Is told about the fate of each folder, named as the caller named it."""

    def started(self, folder: str) -> None:
        """The work for a folder begins."""

    def done(self, folder: str, summary: str) -> None:
        """The folder's results are on the disk; `summary` says what they are."""

    def failed(self, folder: str, error: Exception) -> None:
        """The folder has no results. Anything but a PlmnistError or an OSError is a bug."""


@dataclass
class _Task:
    name: str
    config: Configuration

    @property
    def folder(self) -> Path:
        return Path(self.name)


def train_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    config_name: str,
    engine: str = "tensor",
    device: str = "cpu",
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Train the network of each folder, or leave or copy the one that is there.

    Parameters
    ----------
    folders
        Paths; each holds a configuration as JSON.
    config_name
        File name of the configuration in each folder.
    engine
        Name in :data:`plmnist.training.ENGINES`.
    device
        Name in :data:`plmnist.device.DEVICES`. What is finished is left alone wherever it was made.
    data_dir
        Data folder; None means ``data`` in the current folder.
    force
        Train even what is there already.

    Raises
    ------
    ConfigurationError
        If there is no such device.
    """
    recorder = Recorder("train", listener, engine=engine, device=device)
    tasks = []
    for task in _read_configs(folders, config_name, recorder):
        if not force and results.complete_training(task.folder, task.config) is not None:
            recorder.started(task.name)
            recorder.done(task.name, f"already trained, {_train_summary(task.folder)}")
        else:
            tasks.append(task)
    if not force:
        tasks = _copy_from_neighbours(tasks, recorder)

    # The order keeps one data set in memory at a time, and its normalised form while the seed is the same.
    trajectories: dict[tuple[str, int, str], list[_Task]] = defaultdict(list)
    for task in tasks:
        trajectories[task.config.dataset, task.config.seed, task.config.trajectory_key].append(task)
    if trajectories:
        _require(device)
    shelf: _Shelf[TrainingData] = _Shelf(lambda name: _prepare(name, data_dir))
    for key in sorted(trajectories):
        _train_trajectory(trajectories[key], recorder, engine, device, shelf)


def attack_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    config_name: str,
    attack: str = "fgsm",
    settings: Mapping[str, Any] | None = None,
    epsilons: Sequence[float] = (),
    device: str = "cpu",
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Attack the trained network in each folder at its own epsilon and all of :data:`plmnist.config.CURVE`.

    Parameters
    ----------
    folders, config_name, device, data_dir
        As for :func:`train_folders`.
    attack, settings
        Name in :data:`plmnist.perturbations.ATTACKS`, and what it shall do differently from its default; or
        ``fgsm_legacy``, the original tutorial's computation (:mod:`plmnist.legacy`).
    epsilons
        Further budgets for the curve, in pixel units.
    force
        Attack even what has been attacked already.

    Raises
    ------
    ConfigurationError
        If there is no such device.
    """
    recorder = Recorder(attack, listener, device=device)
    job = _Assault(attack, dict(settings or {}), tuple(map(float, epsilons)))
    same_network: dict[tuple[str, str], list[_Task]] = defaultdict(list)
    for task in _read_configs(folders, config_name, recorder):
        if not force and job.is_done(task):
            recorder.started(task.name)
            recorder.done(task.name, f"already attacked, {_attack_summary(task.folder, attack)}")
            continue
        try:
            record = results.load_train(task.folder)
            if record["config"] != task.config.training_mapping():
                raise ResultError(
                    f"the network in {task.folder} was trained with another configuration than {config_name} says",
                    hint="Train it again: plmnist train",
                )
        except PlmnistError as error:
            recorder.started(task.name)
            recorder.failed(task.name, error)
        else:
            same_network[task.config.dataset, record["model_sha256"]].append(task)
    if same_network:
        _require(device)
    shelf: _Shelf[ImageSet] = _Shelf(lambda name: _load_test(name, data_dir))
    for key in sorted(same_network):
        _attack_network(same_network[key], recorder, job, device, shelf)


def _require(device: str) -> None:
    """Raise if the device does not exist: one error for the whole call instead of one for each folder."""
    from plmnist.device import choose_device

    choose_device(device)


def _read_configs(folders: Iterable[str], config_name: str, listener: Listener) -> list[_Task]:
    tasks = []
    for name in dict.fromkeys(folders):
        try:
            if not Path(name).is_dir():
                raise ResultError(f"{name} is not a folder", hint="Name existing folders.")
            tasks.append(_Task(name, results.read_config(Path(name) / config_name)))
        except Exception as error:
            listener.started(name)
            listener.failed(name, error)
    return tasks


def _copy_from_neighbours(tasks: list[_Task], listener: Recorder) -> list[_Task]:
    """Copy networks that exist in a folder beside the one that needs them; return the tasks that remain."""
    parents: dict[Path, list[_Task]] = defaultdict(list)
    for task in tasks:
        parents[Path(os.path.abspath(task.name)).parent].append(task)
    copied = set()
    for parent, children in parents.items():
        found = results.find_trained(parent, [task.config for task in children])
        for task in children:
            files = found.get(task.config.training_key)
            if files is not None:
                copied.add(task.name)
                listener.started(task.name)
                listener.copied(task.name, files.folder)
                _attempt(task, listener, _save_and_sum_up(files), note="copied from an equal training")
    return [task for task in tasks if task.name not in copied]


def _train_trajectory(
    tasks: list[_Task], listener: Listener, engine: str, device: str, shelf: _Shelf[TrainingData]
) -> None:
    from plmnist.training import train_lengths

    for task in tasks:
        listener.started(task.name)
    waiting = {task.name: task for task in tasks}
    start = time.perf_counter()

    def on_trained(trained: Trained) -> None:
        files = results.TrainFiles.of(trained)
        for task in list(waiting.values()):
            if task.config.training_key == trained.config.training_key:
                del waiting[task.name]
                epochs = trained.config.num_epochs
                elapsed = f"{epochs} epoch{'s' if epochs > 1 else ''}, {time.perf_counter() - start:.1f} s"
                _attempt(task, listener, _save_and_sum_up(files), note=f"trained in {elapsed}")

    try:
        data = shelf.get(tasks[0].config.dataset)
        train_lengths([task.config for task in tasks], on_trained, data=data, engine=engine, device=device)
    except Exception as error:
        for task in waiting.values():
            listener.failed(task.name, error)


def _attack_network(
    tasks: list[_Task], listener: Listener, job: _Assault, device: str, shelf: _Shelf[ImageSet]
) -> None:
    from plmnist.attacks import attack_images
    from plmnist.device import choose_device

    for task in tasks:
        listener.started(task.name)
    try:
        network = results.load_network(tasks[0].folder)
        images = shelf.get(tasks[0].config.dataset)
        if job.name == LEGACY:
            for task in tasks:
                _attempt(task, listener, lambda task: _save_legacy(task, job, network, images), note="attacked")
            return
        network.to(choose_device(device))
        attack = job.attack()
        # FGSM at one budget knows nothing of the others, so one attack with all of them serves every task.
        shared = attack_images(network, images, job.budgets(tasks), attack) if job.name == "fgsm" else None
    except Exception as error:
        for task in tasks:
            listener.failed(task.name, error)
        return
    for task in tasks:

        def work(task: _Task) -> str:
            budgets = job.budgets([task])
            result = attack_images(network, images, budgets, attack) if shared is None else shared.at(budgets)
            return _save_attack(task, result, attack)

        _attempt(task, listener, work, note="attacked")


def _save_attack(task: _Task, result: AttackResult, attack: Attack) -> str:
    from plmnist.plots import draw_examples

    sha256 = results.load_train(task.folder)["model_sha256"]
    if attack.name == "fgsm":
        epsilon, counts = task.config.fgsm_epsilon, result.counts[0]
        examples = results.pack_examples(result, 0)
        figure = draw_examples(
            result.examples,
            0,
            epsilon,
            title=f"FGSM on {task.config.dataset}, epsilon = {epsilon:g}: "
            f"accuracy {counts.clean_acc:.1%} before, {counts.adversarial_acc:.1%} after",
            classes=DATASETS[task.config.dataset].classes,
        )
        record = results.attack_record(
            task.config, result, model_sha256=sha256, attack=attack, examples=examples, figure=figure
        )
        results.save_attack(task.folder, examples=examples, figure=figure, record=record)
    else:
        record = results.attack_record(task.config, result, model_sha256=sha256, attack=attack)
        results.write_atomically(task.folder / results.ATTACK_RECORDS[attack.name], record)
    return _attack_summary(task.folder, attack.name)


def _save_legacy(task: _Task, job: _Assault, network: Network, images: ImageSet) -> str:
    from plmnist.legacy import attack_legacy, legacy_record

    counts = attack_legacy(network, images, job.budgets([task]))
    sha256 = results.load_train(task.folder)["model_sha256"]
    results.save_record(task.folder, LEGACY, legacy_record(task.config, counts, model_sha256=sha256))
    return f"the original's number is {counts[0].acc or 0.0:.4f}, which is not the accuracy under FGSM"


@dataclass(frozen=True)
class _Assault:
    """Which attack is wanted, with what budgets besides those of the configurations."""

    name: str
    settings: dict[str, Any]
    epsilons: tuple[float, ...]

    def attack(self) -> Attack:
        from plmnist.perturbations import ATTACKS

        return ATTACKS[self.name](**self.settings)

    def budgets(self, tasks: Iterable[_Task]) -> list[float]:
        """Return the epsilons of the configurations, then the common ones, each once."""
        return list(dict.fromkeys([*(task.config.fgsm_epsilon for task in tasks), *CURVE, *self.epsilons]))

    def is_done(self, task: _Task) -> bool:
        if self.name == LEGACY:
            return False  # it takes less than a second, and nothing depends on it
        # FGSM has no settings, and asking whether it is done shall not import torch.
        attack = None if self.name == "fgsm" else self.attack()
        return results.is_attacked(task.folder, task.config, self.budgets([task]), attack)


def _attempt(task: _Task, listener: Listener, work: Callable[[_Task], str], *, note: str) -> None:
    try:
        summary = work(task)
    except Exception as error:
        listener.failed(task.name, error)
    else:
        listener.done(task.name, f"{note}, {summary}")


def _save_and_sum_up(files: results.TrainFiles) -> Callable[[_Task], str]:
    def work(task: _Task) -> str:
        results.save_training(task.folder, files)
        return _train_summary(task.folder)

    return work


def _train_summary(folder: Path) -> str:
    record = results.load_train(folder)
    return f"test accuracy {record['test_acc']:.4f}, validation accuracy {record['val_acc']:.4f}"


def _attack_summary(folder: Path, attack: str) -> str:
    record = results.load_attack(folder, attack)
    acc = record[f"{attack}_acc"]
    text = f"accuracy {record['clean_acc']:.4f} before, {acc:.4f} at epsilon {record['epsilon']:g}"
    if record["n_zero_gradient"]:
        text += f"; {record['n_zero_gradient']} of {record['n_test']} images have a zero gradient"
    return text


def _prepare(name: str, data_dir: Path | None) -> TrainingData:
    from plmnist.training import prepare_data

    return prepare_data(name, data_dir)


def _load_test(name: str, data_dir: Path | None) -> ImageSet:
    from plmnist.data import load_test

    return load_test(name, data_dir)


@dataclass
class _Shelf(Generic[T]):
    """Keeps the last data set that was loaded, or the reason why that failed."""

    load: Callable[[str], T]
    _name: str | None = None
    _content: T | PlmnistError | None = field(default=None)

    def get(self, name: str) -> T:
        if name != self._name:
            self._content = None  # before loading the next, so that there is never more than one in memory
            try:
                self._content = self.load(name)
            except PlmnistError as error:
                self._content = error
            self._name = name
        if isinstance(self._content, PlmnistError):
            raise self._content
        assert self._content is not None
        return self._content
