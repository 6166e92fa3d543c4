"""The files of a training: the network, its learning curve, and the record, which is written last."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist.config import OPTIONAL, Configuration
from plmnist.data import data_hashes
from plmnist.errors import ResultError
from plmnist.results.files import Write, json_bytes, load_json, load_verified, sha256, write_in_order
from plmnist.results.records import (
    ATTACK_RECORDS,
    CHECKS,
    FORMAT,
    HISTORY,
    MODEL,
    TRAIN_RECORD,
    device_entry,
    engine_entry,
    load_record,
)

if TYPE_CHECKING:
    from plmnist.course import Trained
    from plmnist.model import Classifier

__all__ = ["TrainFiles", "complete_training", "find_trained", "load_network", "load_train", "save_training"]


@dataclass(frozen=True)
class TrainFiles:
    """The bytes of a training's files, and where they were read, if they were."""

    model: bytes
    history: bytes
    record: bytes
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def of(cls, trained: Trained) -> TrainFiles:
        """Return the files for a training."""
        model = _pack_network(trained.network, trained.config)
        history = _history(trained)
        val, test = trained.val, trained.test
        last = trained.history[-1].train
        record = {
            "format": FORMAT,
            "config": trained.config.training_mapping(),
            "n_train": last.n,
            "n_val": val.n,
            "n_test": test.n,
            "train_correct": last.correct,
            "val_correct": val.correct,
            "test_correct": test.correct,
            "train_loss": last.loss,
            "val_loss": val.loss,
            "test_loss": test.loss,
            "train_acc": last.acc,
            "val_acc": val.acc,
            "test_acc": test.acc,
            "model_sha256": sha256(model),
            "history_sha256": sha256(history),
            "data_sha256": data_hashes(trained.config.dataset),
            **_adversary_entry(trained.config),
            **engine_entry(trained.engine),
            **device_entry(trained.device),
        }
        return cls(model, history, json_bytes(record))


def save_training(folder: Path, files: TrainFiles, *, write: Write = write_in_order) -> None:
    """Write a training into a folder, the record last.

    A record that is there already is removed first, and so are the records of attacks and checks of another network.
    """
    (folder / TRAIN_RECORD).unlink(missing_ok=True)
    digest = sha256(files.model)
    for record in (*ATTACK_RECORDS.values(), CHECKS):
        with contextlib.suppress(ResultError, KeyError, TypeError):
            if load_json(folder / record, hint="")["model_sha256"] != digest:
                (folder / record).unlink(missing_ok=True)
    write(folder, {MODEL: files.model, HISTORY: files.history, TRAIN_RECORD: files.record})


def complete_training(folder: Path, config: Configuration) -> TrainFiles | None:
    """Return the files of a finished training of this configuration, verified, or None if it has to be done."""
    try:
        record_bytes = (folder / TRAIN_RECORD).read_bytes()
        record = json.loads(record_bytes)
        fits = (
            record["format"] == FORMAT
            and record["config"] == config.training_mapping()
            and record.get("adversary") == _adversary_entry(config).get("adversary")
            and record["data_sha256"] == data_hashes(config.dataset)
        )
        if not fits:
            return None
        model, history = (folder / MODEL).read_bytes(), (folder / HISTORY).read_bytes()
        if sha256(model) != record["model_sha256"] or sha256(history) != record["history_sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return TrainFiles(model, history, record_bytes, folder)


def find_trained(parent: Path, configs: list[Configuration]) -> dict[str, TrainFiles]:
    """Look through the folders in `parent` for finished trainings.

    Parameters
    ----------
    parent
        A folder whose subfolders may hold results.
    configs
        What is looked for.

    Returns
    -------
    dict
        Files by `training_key`, verified, for those that were found.
    """
    # Records are written by this module, so the text of the configuration can be looked for before anything is parsed:
    # ten times faster, which matters when there are a hundred thousand folders.
    wanted = {json_bytes({"config": c.training_mapping()})[2:-3]: c for c in configs}
    found: dict[str, TrainFiles] = {}
    try:
        names = os.listdir(parent)
    except OSError:
        return found
    for name in sorted(names):
        if not wanted:
            break
        try:
            with open(os.path.join(parent, name, TRAIN_RECORD), "rb") as stream:
                text = stream.read()
        except OSError:
            continue
        for needle, config in list(wanted.items()):
            if needle in text:
                files = complete_training(parent / name, config)
                if files is not None:
                    found[config.training_key] = files
                    del wanted[needle]
    return found


def load_train(folder: Path | str) -> dict[str, Any]:
    """Return the record of a finished training, ``train.json``.

    Keys: ``format``, ``config`` (without epsilon); the integers ``n_train``, ``n_val``, ``n_test``, ``train_correct``,
    ``val_correct``, ``test_correct``; ``<split>_loss`` (mean cross-entropy in nats) and ``<split>_acc`` (correct / n)
    for train, val and test; ``model_sha256``, ``history_sha256``, ``data_sha256``. The ``train_*`` values are measured
    during the last epoch, with dropout and, in adversarial training, on altered images; the others on the weights that
    were saved. ``adversary``, the attack in training, is there only if there is one. Two more entries are there only if
    the bytes are not those that everybody gets: ``engine``, if it was ``stacked``, and ``device``, the product name of
    a GPU, if the network was not trained on the processor.

    Raises
    ------
    ResultError
        If there is none or it can't be understood.
    """
    return load_record(Path(folder) / TRAIN_RECORD, hint="Train it first: plmnist train")


def load_network(folder: Path | str) -> Classifier:
    """Return the network of a finished training, in evaluation mode, after verifying it against its record.

    Raises
    ------
    ResultError
        If the network or its record is missing or damaged.
    """
    expected = load_train(folder)["model_sha256"]
    called, hint = f"the network of {TRAIN_RECORD}", "Train it again: plmnist train"
    return _unpack_network(load_verified(Path(folder) / MODEL, expected, called=called, hint=hint))


def _adversary_entry(config: Configuration) -> dict[str, dict[str, float]]:
    if config.training == "standard":
        return {}  # and no torch is imported
    from plmnist.adversary import adversary_of

    adversary = adversary_of(config)
    return {} if adversary is None else {"adversary": adversary.settings()}


def _history(trained: Trained) -> bytes:
    lines = ["epoch,train_loss,train_acc,val_loss,val_acc"]
    for row in trained.history:
        lines.append(f"{row.epoch},{row.train.loss!r},{row.train.acc!r},{row.val.loss!r},{row.val.acc!r}")
    return ("\n".join(lines) + "\n").encode()


def _pack_network(network: Classifier, config: Configuration) -> bytes:
    from safetensors.torch import save

    # One metadata entry: the library writes several in an order that changes from run to run.
    about = {
        "format": FORMAT,
        "config": config.training_mapping(),
        "num_pixels": network.num_pixels,
    }
    return save(dict(network.state_dict()), metadata={"plmnist": json.dumps(about)})


def _unpack_network(content: bytes) -> Classifier:
    from safetensors.torch import load

    from plmnist.networks import build

    length = int.from_bytes(content[:8], "little")
    about = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["plmnist"])
    config = about["config"]
    network = build(
        config.get("network", OPTIONAL["network"]), about["num_pixels"], config["hidden_size"], config["dropout_prob"]
    )
    network.load_state_dict(load(content))
    return network.eval()
