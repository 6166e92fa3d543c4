"""Attack the networks of many folders, each with one attack or several.

A network is loaded once for all attacks, and for all folders that hold a copy of it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist import results
from plmnist.batch.folders import Listener, Shelf, Task, attempt, read_configs, require_device, test_parts
from plmnist.config import CURVE
from plmnist.errors import PlmnistError, ResultError
from plmnist.provenance import Recorder
from plmnist.registry import DATASETS
from plmnist.sample import Sample

if TYPE_CHECKING:
    from plmnist.attacks import AttackResult
    from plmnist.data import ImageSet
    from plmnist.model import Classifier
    from plmnist.perturbations import Attack

LEGACY = "fgsm_legacy"


def attack_folders(
    folders: Iterable[str],
    listener: Listener,
    *,
    config_name: str,
    attacks: Sequence[str] = ("fgsm",),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    epsilons: Sequence[float] = (),
    n_images: int | None = None,
    device: str = "cpu",
    data_dir: Path | None = None,
    force: bool = False,
) -> None:
    """Attack the trained network in each folder at its own epsilon and all of :data:`plmnist.config.CURVE`.

    Parameters
    ----------
    folders, config_name, device, data_dir
        As for :func:`plmnist.batch.train_folders`.
    attacks
        Names in :data:`plmnist.perturbations.ATTACKS`; or ``fgsm_legacy``, the original tutorial's computation
        (:mod:`plmnist.legacy`).
    settings
        For a name what its attack shall do differently from its default.
    epsilons
        Further budgets for the curve, in pixel units.
    n_images
        Attack so many of the test images, spread evenly over all; None means all. ``fgsm_legacy`` always takes all.
    force
        Attack even what has been attacked already.

    Raises
    ------
    ConfigurationError
        If there is no such device.
    """
    settings = settings or {}
    assaults = [
        _Assault(name, dict(settings.get(name, {})), tuple(map(float, epsilons)), n_images)
        for name in dict.fromkeys(attacks)
    ]
    # What keeps a folder from being attacked at all is recorded for every attack that was wanted.
    all_of_them = listener
    for assault in assaults:
        all_of_them = Recorder(assault.name, all_of_them, device=device)
    same_network: dict[tuple[str, str], list[_Order]] = defaultdict(list)
    for task in read_configs(folders, config_name, all_of_them):
        missing = tuple(a for a in assaults if force or not a.is_done(task))
        if not missing:
            listener.started(task.name)
            listener.done(task.name, f"already attacked, {_summary(task, assaults)}")
            continue
        try:
            record = results.load_train(task.folder)
            if record["config"] != task.config.training_mapping():
                raise ResultError(
                    f"the network in {task.folder} was trained with another configuration than {config_name} says",
                    hint="Train it again: plmnist train",
                )
        except PlmnistError as error:
            all_of_them.started(task.name)
            all_of_them.failed(task.name, error)
        else:
            same_network[task.config.dataset, record["model_sha256"]].append(_Order(task, missing))
    if same_network:
        require_device(device)
    recorders = {assault.name: Recorder(assault.name, _Raising(), device=device) for assault in assaults}
    shelf = test_parts(data_dir)
    for key in sorted(same_network):
        orders = same_network[key]
        victim = _Victim(orders, device, shelf)
        for order in orders:
            listener.started(order.task.name)
        for order in orders:
            attempt(order.task.name, listener, partial(_attack, order, victim, recorders))


@dataclass(frozen=True)
class _Assault:
    """An attack that is wanted, with what budgets besides those of the configurations, and on how many images."""

    name: str
    settings: dict[str, Any]
    epsilons: tuple[float, ...]
    n_images: int | None

    def attack(self) -> Attack:
        from plmnist.perturbations import ATTACKS

        return ATTACKS[self.name](**self.settings)

    def budgets(self, tasks: Iterable[Task]) -> list[float]:
        """Return the epsilons of the configurations, then the common ones, each once."""
        return list(dict.fromkeys([*(task.config.fgsm_epsilon for task in tasks), *CURVE, *self.epsilons]))

    def is_done(self, task: Task) -> bool:
        if self.name == LEGACY:
            return False  # it takes less than a second, and nothing depends on it
        # FGSM has no settings, and asking whether it is done shall not import torch.
        attack = None if self.name == "fgsm" else self.attack()
        return results.is_attacked(
            task.folder, task.config, self.budgets([task]), attack=attack, n_images=self.n_images
        )


@dataclass(frozen=True)
class _Order:
    """A folder and the attacks it lacks."""

    task: Task
    missing: tuple[_Assault, ...]


class _Raising:
    """Is told of one attack among several on a folder: success is no news yet, and failure ends the others."""

    def started(self, folder: str) -> None: ...

    def done(self, folder: str, summary: str) -> None: ...

    def failed(self, folder: str, error: Exception) -> None:
        raise error


class _Victim:
    """The network that some folders hold, and what it is attacked with, as soon as somebody asks."""

    def __init__(self, orders: Sequence[_Order], device: str, shelf: Shelf[ImageSet]) -> None:
        self._orders = orders
        self._device = device
        self._shelf = shelf

    @cached_property
    def network(self) -> Classifier:
        from plmnist.device import choose_device

        return results.load_network(self._orders[0].task.folder).to(choose_device(self._device))

    @cached_property
    def images(self) -> ImageSet:
        return self._shelf.get(self._orders[0].task.config.dataset)

    @cached_property
    def _fgsm(self) -> AttackResult:
        """FGSM at one budget knows nothing of the others, so one attack with all of them serves every folder."""
        wanting = [(order.task, a) for order in self._orders for a in order.missing if a.name == "fgsm"]
        return self._attacked(wanting[0][1], wanting[0][1].budgets(task for task, _ in wanting))

    def attacked(self, task: Task, assault: _Assault) -> AttackResult:
        """Return the outcome of an attack at a folder's budgets."""
        budgets = assault.budgets([task])
        return self._fgsm.at(budgets) if assault.name == "fgsm" else self._attacked(assault, budgets)

    def _attacked(self, assault: _Assault, budgets: list[float]) -> AttackResult:
        from plmnist.attacks import attack_images

        sample = Sample.spread(assault.n_images, len(self.images))
        return attack_images(self.network, self.images.at(sample), budgets, assault.attack())


def _attack(order: _Order, victim: _Victim, recorders: Mapping[str, Recorder]) -> str:
    """Make the attacks that a folder lacks, one after the other, and return what came of them."""
    name = order.task.name
    for assault in order.missing:
        recorder = recorders[assault.name]
        recorder.started(name)
        attempt(name, recorder, partial(_attack_once, order.task, assault, victim, recorder))
    return f"attacked, {_summary(order.task, order.missing)}"


def _attack_once(task: Task, assault: _Assault, victim: _Victim, recorder: Recorder) -> str:
    """Make an attack on the network of a folder and write what came of it; return that in a sentence."""
    sha256 = results.load_train(task.folder)["model_sha256"]
    files: dict[str, bytes] = {}
    if assault.name == LEGACY:
        record = _legacy_record(task, assault.budgets([task]), victim.images, sha256)
    else:
        result, attack, n_all = victim.attacked(task, assault), assault.attack(), len(victim.images)
        if assault.name == "fgsm":
            files = {"examples": results.pack_examples(result, 0, n_all=n_all), "figure": _drawn(task, result)}
        else:
            files = {"outcomes": results.pack_outcomes(result)}
        record = results.attack_record(task.config, result, model_sha256=sha256, attack=attack, n_all=n_all, **files)
    summary = _sentence(assault.name, json.loads(record))
    write = recorder.writer(task.name, summary)
    results.save_attack(task.folder, assault.name, record=record, write=write, **files)
    return summary


def _drawn(task: Task, result: AttackResult) -> bytes:
    from plmnist.plots import draw_examples

    epsilon, counts = task.config.fgsm_epsilon, result.counts[0]
    return draw_examples(
        result.examples,
        0,
        epsilon,
        title=f"FGSM on {task.config.dataset}, epsilon = {epsilon:g}: "
        f"accuracy {counts.clean_acc:.1%} before, {counts.adversarial_acc:.1%} after",
        classes=DATASETS[task.config.dataset].classes,
    )


def _legacy_record(task: Task, budgets: Sequence[float], images: ImageSet, model_sha256: str) -> bytes:
    from plmnist.legacy import attack_legacy, legacy_record

    # On the processor, as the original; its record knows no other device.
    counts = attack_legacy(results.load_network(task.folder), images, budgets)
    return legacy_record(task.config, counts, model_sha256=model_sha256)


def _summary(task: Task, assaults: Iterable[_Assault]) -> str:
    return "; ".join(_sentence(a.name, results.load_attack(task.folder, a.name)) for a in assaults)


def _sentence(attack: str, record: Mapping[str, Any]) -> str:
    acc = record[f"{attack}_acc"]
    if attack == LEGACY:
        return f"the original's number is {acc or 0.0:.4f}, which is not the accuracy under FGSM"
    text = f"{attack}: accuracy {record['clean_acc']:.4f} before, {acc:.4f} at epsilon {record['epsilon']:g}"
    if "subset" in record:
        text += f" ({Sample.of_record(record)})"
    if record["n_zero_gradient"]:
        text += f", {record['n_zero_gradient']} of {record['n_test']} images have a zero gradient"
    return text
