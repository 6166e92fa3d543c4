"""Result files: what a folder holds, how it is written, verified and read.

Every file is written whole or not at all: to a temporary name in the same folder, flushed to the disk, then renamed.
``train.json`` is the last file of a training and ``fgsm.json`` the last of FGSM; each names the SHA-256 of the
files it belongs to. The bytes depend on configuration, data and code only: no times, paths or host names.

Reading and verifying needs no torch; only :func:`load_network` imports it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist.config import OPTIONAL, STACKED, Configuration
from plmnist.data import data_hashes
from plmnist.errors import ResultError

if TYPE_CHECKING:
    import numpy as np

    from plmnist.attacks import AttackCounts, AttackResult
    from plmnist.checks import Check
    from plmnist.course import Trained
    from plmnist.model import Classifier
    from plmnist.perturbations import Attack

__all__ = [
    "ATTACK_FORMAT",
    "ATTACK_RECORD",
    "ATTACK_RECORDS",
    "CHECKS",
    "CHECK_FORMAT",
    "EXAMPLES",
    "FIGURE",
    "FORMAT",
    "HISTORY",
    "MODEL",
    "TRAIN_RECORD",
    "TrainFiles",
    "attack_record",
    "complete_training",
    "find_trained",
    "is_attacked",
    "is_checked",
    "load_attack",
    "load_checks",
    "load_network",
    "load_train",
    "pack_arrays",
    "pack_examples",
    "read_config",
    "save_attack",
    "save_checks",
    "save_record",
    "save_training",
    "write_atomically",
]

FORMAT = 1
"""Version of a training's numbers: raised whenever the same configuration would give other results or other files."""

ATTACK_FORMAT = 2
"""Version of an attack's numbers. 2: the whole curve and per-image results."""

CHECK_FORMAT = 1
"""Version of the checks: raised whenever the same network would be judged otherwise."""

MODEL = "model.safetensors"
HISTORY = "history.csv"
TRAIN_RECORD = "train.json"
EXAMPLES = "fgsm_examples.npz"
FIGURE = "fgsm.png"
ATTACK_RECORD = "fgsm.json"
ATTACK_RECORDS = {name: f"{name}.json" for name in ("fgsm", "pgd", "noise", "fgsm_legacy")}
"""Name of an attack -> its record. fgsm_legacy is what the original tutorial computes."""
CHECKS = "checks.json"


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
            "model_sha256": _sha256(model),
            "history_sha256": _sha256(history),
            "data_sha256": data_hashes(trained.config.dataset),
            **_adversary_entry(trained.config),
            **_engine_entry(trained.engine),
            **_device_entry(trained.device),
        }
        return cls(model, history, _json_bytes(record))


def save_training(folder: Path, files: TrainFiles) -> None:
    """Write a training into a folder, the record last.

    A record that is there already is removed first, and so are the records of attacks and checks of another network.
    """
    (folder / TRAIN_RECORD).unlink(missing_ok=True)
    for record in (*ATTACK_RECORDS.values(), CHECKS):
        with contextlib.suppress(ResultError, KeyError, TypeError):
            if _load_json(folder / record, hint="")["model_sha256"] != _sha256(files.model):
                (folder / record).unlink(missing_ok=True)
    write_atomically(folder / MODEL, files.model)
    write_atomically(folder / HISTORY, files.history)
    write_atomically(folder / TRAIN_RECORD, files.record)


def complete_training(folder: Path, config: Configuration) -> TrainFiles | None:
    """Return the files of a finished training of this configuration, verified, or None if it has to be done."""
    try:
        record_bytes = (folder / TRAIN_RECORD).read_bytes()
        record = json.loads(record_bytes)
        fits = (
            record["format"] == FORMAT
            and record["config"] == config.training_mapping()
            and record["data_sha256"] == data_hashes(config.dataset)
        )
        if not fits:
            return None
        model, history = (folder / MODEL).read_bytes(), (folder / HISTORY).read_bytes()
        if _sha256(model) != record["model_sha256"] or _sha256(history) != record["history_sha256"]:
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
    wanted = {_json_bytes({"config": c.training_mapping()})[2:-3]: c for c in configs}
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
    return _load_record(Path(folder) / TRAIN_RECORD, hint="Train it first: plmnist train")


def load_attack(folder: Path | str, attack: str = "fgsm") -> dict[str, Any]:
    """Return the record of a finished attack, ``fgsm.json``, ``pgd.json`` or ``noise.json``.

    Keys: ``format``, ``attack`` and its ``settings``, ``config``; ``epsilon`` in pixel units; the integers ``n_test``,
    ``clean_correct``, ``adversarial_correct``, ``adversarial_correct_given_clean`` (before and after) and
    ``n_zero_gradient``; the rates ``clean_acc`` and ``<attack>_acc`` (of all ``n_test``) and
    ``<attack>_acc_given_clean`` (of ``clean_correct``; null if there are none); ``curve``, a list with epsilon, counts
    and rates for every epsilon; hashes of the network attacked, of the data and, for FGSM, the examples and the
    figure; ``device`` as in :func:`load_train`. If not all test images were attacked, ``subset`` says how many
    (``first``) of how many (``of``), and ``n_test`` and all counts are about these.

    Raises
    ------
    ResultError
        If there is none or it can't be understood.
    """
    hint = f"Attack it first: plmnist attack{'' if attack == 'fgsm' else f' --attack {attack}'}"
    return _load_record(Path(folder) / ATTACK_RECORDS[attack], hint=hint, expected=ATTACK_FORMAT)


def load_network(folder: Path | str) -> Classifier:
    """Return the network of a finished training, in evaluation mode, after verifying it against its record.

    Raises
    ------
    ResultError
        If the network or its record is missing or damaged.
    """
    folder = Path(folder)
    record = load_train(folder)
    try:
        content = (folder / MODEL).read_bytes()
    except OSError as error:
        raise ResultError(
            f"{folder / MODEL} cannot be read: {error.strerror}", hint="Train it again: plmnist train"
        ) from error
    if _sha256(content) != record["model_sha256"]:
        raise ResultError(
            f"{folder / MODEL} is not the network of {TRAIN_RECORD}: its SHA-256 is {_sha256(content)}, "
            f"expected {record['model_sha256']}",
            hint="Train it again: plmnist train --force",
        )
    return _unpack_network(content)


def read_config(path: Path) -> Configuration:
    """Return the configuration in a JSON file.

    Raises
    ------
    ConfigurationError
        If its entries are not usable.
    ResultError
        If the file is missing or is not JSON.
    """
    mapping = _load_json(path, hint="Each folder needs a configuration; name its file with --config-name.")
    return Configuration.from_mapping(mapping)


def attack_record(
    config: Configuration,
    result: AttackResult,
    *,
    model_sha256: str,
    attack: Attack,
    n_all: int,
    examples: bytes | None = None,
    figure: bytes | None = None,
) -> bytes:
    """Return the content of an attack's record; the first of the result's epsilons must be that of `config`.

    `n_all` is the number of test images, of which the result may be about the first.
    """
    main = result.counts[0]
    assert main.epsilon == config.fgsm_epsilon
    files = {"examples_sha256": examples, "figure_sha256": figure}
    record = {
        "format": ATTACK_FORMAT,
        "attack": attack.name,
        "settings": attack.settings(),
        "config": config.to_mapping(),
        "n_test": main.n,
        **({"subset": {"first": main.n, "of": n_all}} if main.n < n_all else {}),
        "n_zero_gradient": result.n_zero_gradient,
        "clean_correct": main.clean_correct,
        "clean_acc": main.clean_acc,
        **_curve_point(main, attack.name),
        "curve": [_curve_point(counts, attack.name) for counts in sorted(result.counts, key=lambda c: c.epsilon)],
        "model_sha256": model_sha256,
        **{name: _sha256(content) for name, content in files.items() if content is not None},
        "data_sha256": data_hashes(config.dataset),
        **_device_entry(result.device),
    }
    return _json_bytes(record)


def save_attack(folder: Path, *, examples: bytes, figure: bytes, record: bytes) -> None:
    """Write FGSM's results into a folder, the record last; a record that is there already is removed first."""
    (folder / ATTACK_RECORD).unlink(missing_ok=True)
    write_atomically(folder / EXAMPLES, examples)
    write_atomically(folder / FIGURE, figure)
    write_atomically(folder / ATTACK_RECORD, record)


def save_record(folder: Path, attack: str, record: Mapping[str, Any]) -> None:
    """Write the record of an attack that has no other files."""
    write_atomically(folder / ATTACK_RECORDS[attack], _json_bytes({"format": ATTACK_FORMAT, **record}))


def is_attacked(
    folder: Path,
    config: Configuration,
    epsilons: list[float],
    *,
    attack: Attack | None = None,
    n_images: int | None = None,
) -> bool:
    """Return whether a folder holds a verified attack on its present network at all these epsilons.

    The attack is FGSM for None; it was made on exactly the first `n_images`, or on all for None.
    """
    try:
        name, settings = ("fgsm", {}) if attack is None else (attack.name, attack.settings())
        record, train = load_attack(folder, name), load_train(folder)
        return (
            record["config"] == config.to_mapping()
            and record["settings"] == settings
            and _is_about(record, n_images)
            and record["data_sha256"] == data_hashes(config.dataset)
            and record["model_sha256"] == train["model_sha256"] == _sha256((folder / MODEL).read_bytes())
            and {point["epsilon"] for point in record["curve"]} >= set(epsilons)
            and (
                name != "fgsm"
                or (
                    record["examples_sha256"] == _sha256((folder / EXAMPLES).read_bytes())
                    and record["figure_sha256"] == _sha256((folder / FIGURE).read_bytes())
                )
            )
        )
    except (ResultError, OSError, KeyError, TypeError):
        return False


def _is_about(record: Mapping[str, Any], n_images: int | None) -> bool:
    if "subset" in record:
        return bool(record["subset"]["first"] == n_images)
    return n_images is None or bool(n_images >= record["n_test"])


def save_checks(folder: Path, train: Mapping[str, Any], found: Iterable[Check], *, device: str = "cpu") -> None:
    """Write the findings about the network of a training's record, made on a device."""
    record = {
        "format": CHECK_FORMAT,
        "config": train["config"],
        "checks": [{"name": check.name, "passed": check.passed, "sentence": check.sentence} for check in found],
        "model_sha256": train["model_sha256"],
        "data_sha256": train["data_sha256"],
        **_engine_entry(train.get("engine", "")),
        **_device_entry(device),
    }
    write_atomically(folder / CHECKS, _json_bytes(record))


def load_checks(folder: Path | str) -> dict[str, Any]:
    """Return the findings about a network, ``checks.json``.

    Keys: ``format``; ``config`` (without epsilon); ``checks``, a list of ``name``, ``passed`` and ``sentence``;
    hashes of the network and the data; ``engine``, that trained the network, and ``device``, where it was checked, are
    there as in :func:`load_train`.

    Raises
    ------
    ResultError
        If there are none or they can't be understood.
    """
    return _load_record(Path(folder) / CHECKS, hint="Check it first: plmnist check", expected=CHECK_FORMAT)


def is_checked(folder: Path) -> bool:
    """Return whether a folder holds findings about its present network."""
    try:
        found, train = load_checks(folder), load_train(folder)
        return bool(
            found["data_sha256"] == data_hashes(train["config"]["dataset"])
            and found["model_sha256"] == train["model_sha256"] == _sha256((folder / MODEL).read_bytes())
        )
    except (ResultError, OSError, KeyError, TypeError):
        return False


def pack_examples(result: AttackResult, which: int) -> bytes:
    """Return the content of ``fgsm_examples.npz``: the examples at one of the epsilons, and every image's outcome.

    Per test image: ``clean_correct``, and ``smallest_epsilon`` of the curve at which it is misclassified: 0 if it is to
    begin with, infinity if it never is.
    """
    import numpy as np

    examples = result.examples
    return pack_arrays(
        {
            "index": examples.index.numpy(),
            "label": examples.label.numpy(),
            "original": examples.original.numpy(),
            "adversarial": examples.adversarial[which].numpy(),
            "clean_prediction": examples.clean_prediction.numpy(),
            "adversarial_prediction": examples.adversarial_prediction[which].numpy(),
            "epsilon": np.float64(result.counts[which].epsilon),
            "clean_correct": (result.clean_predictions == result.labels).numpy(),
            "smallest_epsilon": result.smallest_epsilon.numpy(),
        }
    )


def pack_arrays(arrays: Mapping[str, np.ndarray[Any, Any] | np.generic]) -> bytes:
    """Return an ``.npz`` file whose bytes depend on the arrays only."""
    import zipfile

    import numpy as np

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asanyarray(array), allow_pickle=False)
            # The year 1980, the earliest a zip file knows, instead of now.
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, entry.getvalue())
    return packed.getvalue()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the whole new one, also after a crash."""
    host, prefix = os.uname().nodename, f".{path.name}."
    _remove_leftovers(path.parent, prefix, host)
    temporary = path.with_name(f"{prefix}{host}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove_leftovers(folder: Path, prefix: str, host: str) -> None:
    """Delete temporary files of processes of this host that were killed."""
    for name in os.listdir(folder):
        if name.startswith(prefix + host + ".") and name.endswith(".tmp"):
            pid = name.removesuffix(".tmp").rpartition(".")[2]
            if pid.isdigit() and not _is_alive(int(pid)):
                (folder / name).unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # A killed process keeps its number until its parent asks for it; in a container there may be nobody who does.
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    return True


def _curve_point(counts: AttackCounts, name: str) -> dict[str, Any]:
    return {
        "epsilon": counts.epsilon,
        "adversarial_correct": counts.adversarial_correct,
        "adversarial_correct_given_clean": counts.adversarial_correct_given_clean,
        f"{name}_acc": counts.adversarial_acc,
        f"{name}_acc_given_clean": counts.adversarial_acc_given_clean,
    }


def _adversary_entry(config: Configuration) -> dict[str, dict[str, float]]:
    from plmnist.adversary import adversary_of

    adversary = adversary_of(config)
    return {} if adversary is None else {"adversary": adversary.settings()}


def _engine_entry(engine: str) -> dict[str, str]:
    """Return what a record says about the engine: nothing for those that all give the same bytes."""
    return {"engine": engine} if engine == STACKED else {}


def _device_entry(device: str) -> dict[str, str]:
    """Return what a record says about where it was made: nothing for the processor, whose bytes are the reference."""
    return {} if device == "cpu" else {"device": device}


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


def _load_record(path: Path, *, hint: str, expected: int = FORMAT) -> dict[str, Any]:
    record = _load_json(path, hint=hint)
    if not isinstance(record, dict) or "format" not in record:
        raise ResultError(f"{path} is not a record of this package", hint=hint)
    if record["format"] != expected:
        raise ResultError(
            f"{path} has format {record['format']}, this version of plmnist writes format {expected}", hint=hint
        )
    return record


def _load_json(path: Path, *, hint: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ResultError(f"{path} does not exist", hint=hint) from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ResultError(f"{path} is not valid JSON: {error}", hint="Mend or remove the file.") from error


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
