"""Verification: does a folder hold what its records say, whole and of one piece?

Every statement that a file makes about another one, about itself or about its data is held against the facts: hashes,
entries and their types, rates against the counts they derive from, configurations, the network an attack names, the
hashes that the provenance names. Nothing is computed anew; that is what a reproduction is for.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plmnist import results
from plmnist.config import Configuration
from plmnist.data import data_hashes
from plmnist.errors import ConfigurationError, OutdatedError, PlmnistError, ResultError, near_matches
from plmnist.provenance import FOLDER, PARTS, load_provenance, others_of, parts_of
from plmnist.sample import Sample

__all__ = ["CONFIG_NAMES", "outdated", "verify_folder"]

CONFIG_NAMES = ("config.json", "signac_statepoint.json")
"""Where a configuration is looked for, in this order."""

_RATE_TOLERANCE = 1e-12

_TRAIN_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "config": dict,
    "data_sha256": dict,
    "model_sha256": str,
    "history_sha256": str,
    **{f"n_{split}": int for split in ("train", "val", "test")},
    **{f"{split}_correct": int for split in ("train", "val", "test")},
    **{f"{split}_{value}": (int, float) for split in ("train", "val", "test") for value in ("loss", "acc")},
}
_ATTACK_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "attack": str,
    "config": dict,
    "epsilon": (int, float),
    "n_test": int,
    "clean_correct": int,
    "adversarial_correct_given_clean": int,
    "curve": list,
    "model_sha256": str,
    "data_sha256": dict,
}
_CHECKS_ENTRIES: dict[str, type | tuple[type, ...]] = {
    "config": dict,
    "checks": list,
    "model_sha256": str,
    "data_sha256": dict,
}


def verify_folder(folder: Path | str, *, config_name: str | None = None, needed: tuple[str, ...] = ()) -> list[str]:
    """Look for contradictions in a folder of results.

    Parameters
    ----------
    folder
        A folder with a configuration and results, or one with what was made from the results of many, and its
        provenance.
    config_name
        File name of the configuration; None means the first of :data:`CONFIG_NAMES` that is there.
    needed
        Names of the parts that must be there, besides the training.

    Returns
    -------
    list of str
        One sentence for each problem, each naming a file; empty if all is well.

    Raises
    ------
    ConfigurationError
        If there is no such part.
    """
    for part in needed:
        if part not in PARTS:
            raise ConfigurationError(f"unknown part {part!r}", hint=near_matches(part, PARTS))
    return list(dict.fromkeys(_Folder(Path(folder), config_name).problems(needed)))


def outdated(folder: Path | str, name: str) -> str | None:
    """Return what :func:`verify_folder` says of a record that was made by an earlier version; None of other files."""
    try:
        if name in results.FORMATS:
            results.load_record(Path(folder) / name, hint="")
    except OutdatedError as error:
        return _sentence(error, Path(folder))
    except ResultError:
        pass
    return None


class _Folder:
    """One folder, and what has been read of it."""

    def __init__(self, path: Path, config_name: str | None) -> None:
        self.path = path
        names = CONFIG_NAMES if config_name is None else (config_name,)
        self.config_name = next((name for name in names if (path / name).exists()), names[0])

    def problems(self, needed: tuple[str, ...]) -> Iterator[str]:
        if not self.path.is_dir():
            yield f"{self.path} is not a folder"
            return
        others = others_of(self.path)
        for part in others:
            yield from self.other(part)
        if others and not (self.path / self.config_name).exists():
            return  # no folder of a network, but of what was made from many
        if not parts_of(self.path) and any(map(parts_of, self.path.glob("*"))):
            yield f"{self.path} has no results of its own, its folders have: name those, {self.path / '*'}"
            return
        config: Configuration | None = None
        try:
            config = results.read_config(self.path / self.config_name)
        except PlmnistError as error:
            yield self.sentence(error)
        present = parts_of(self.path)
        for part in dict.fromkeys(("train", *needed, *present)):
            yield from self.part(part, config)
        for part, files in PARTS.items():
            if part not in present:
                for name in files:
                    if (self.path / name).exists():
                        yield f"{name} is there, but the record it belongs to is missing"

    def part(self, part: str, config: Configuration | None) -> Iterator[str]:
        """Yield the problems of a part's files and of its provenance."""
        name = f"{part}.json"
        kinds: dict[str, tuple[Callable[[Path], dict[str, Any]], Any, Callable[[dict[str, Any]], Iterator[str]]]] = {
            "train": (results.load_train, _TRAIN_ENTRIES, self.training),
            "checks": (results.load_checks, _CHECKS_ENTRIES, lambda record: self.attacked(name, record)),
        }
        of_attack = (
            lambda path: results.load_attack(path, part),
            _ATTACK_ENTRIES,
            lambda record: self.attack(part, name, record),
        )
        load, entries, problems = kinds.get(part, of_attack)
        try:
            record = load(self.path)
        except PlmnistError as error:
            yield self.sentence(error)
        else:
            wrong = list(_wrong_entries(name, record, entries))
            yield from wrong
            if not wrong:
                yield from self.inputs(name, record, config, is_training=part in kinds)
                yield from problems(record)
        yield from self.provenance(part, config)

    def inputs(
        self, name: str, record: Mapping[str, Any], config: Configuration | None, *, is_training: bool
    ) -> Iterator[str]:
        if config is not None:
            if record["config"] != (config.training_mapping() if is_training else config.to_mapping()):
                yield f"{name} is of another configuration than {self.config_name}"
            if record["data_sha256"] != data_hashes(config.dataset):
                yield f"{name} was made from other data than {config.dataset}: its data_sha256 differs"

    def training(self, record: Mapping[str, Any]) -> Iterator[str]:
        yield from self.hashed(results.MODEL, record["model_sha256"], results.TRAIN_RECORD)
        yield from self.hashed(results.HISTORY, record["history_sha256"], results.TRAIN_RECORD)
        for split in ("train", "val", "test"):
            n, correct, acc = record[f"n_{split}"], record[f"{split}_correct"], record[f"{split}_acc"]
            yield from _wrong_rate(results.TRAIN_RECORD, f"{split}_acc", acc, correct, n)
            if not 0 <= record[f"{split}_loss"] < math.inf:
                yield f"{results.TRAIN_RECORD}: {split}_loss is {record[f'{split}_loss']}"
        yield from self.history(record)
        yield from self.network(record)

    def history(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Hold the last epoch against the record."""
        try:
            header, *lines = (self.path / results.HISTORY).read_text().splitlines()
            last = dict(zip(header.split(","), map(float, lines[-1].split(",")), strict=True))
        except OSError:
            return  # said already
        except (ValueError, IndexError):
            yield f"{results.HISTORY} is no table of numbers"
            return
        if len(lines) != record["config"].get("num_epochs"):
            yield f"{results.HISTORY} has {len(lines)} epochs, {results.TRAIN_RECORD} says otherwise"
        for name, value in last.items():
            if name in record and record[name] != value:
                yield f"{results.TRAIN_RECORD}: {name} is {record[name]}, {results.HISTORY} ends with {value}"

    def network(self, record: Mapping[str, Any]) -> Iterator[str]:
        """Read the header of the network, which says what was trained."""
        try:
            content = (self.path / results.MODEL).read_bytes()
        except OSError:
            return
        try:
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            about = json.loads(header.pop("__metadata__")["plmnist"])
            end = 8 + length + max(tensor["data_offsets"][1] for tensor in header.values())
        except (ValueError, KeyError, TypeError, IndexError):
            yield f"{results.MODEL} is no network of this package"
            return
        if end != len(content):
            yield f"{results.MODEL} is cut off: {len(content)} bytes of {end}"
        if about.get("config") != record["config"]:
            yield f"{results.MODEL} is of another configuration than {results.TRAIN_RECORD}"

    def attack(self, part: str, name: str, record: Mapping[str, Any]) -> Iterator[str]:
        if record["attack"] != part:
            yield f"{name} is the record of another attack, {record['attack']}"
        yield from self.attacked(name, record)
        try:
            Sample.of_record(record)
        except (KeyError, TypeError, ValueError):
            yield f"{name}: subset is {record['subset']!r}, and n_test {record['n_test']}"
        if "clean_acc" in record:
            yield from _wrong_rate(name, "clean_acc", record["clean_acc"], record["clean_correct"], record["n_test"])
        for where, point in [("", record), *((f" at epsilon {p.get('epsilon')}", p) for p in record["curve"])]:
            yield from _wrong_point(name, where, point, record)
        yield from _wrong_confusions(name, record)
        if record["epsilon"] not in [point.get("epsilon") for point in record["curve"]]:
            yield f"{name}: its curve lacks its own epsilon, {record['epsilon']}"
        for place, (entry, filename) in enumerate(results.ATTACK_FILES[part].items()):
            if entry in record:
                yield from self.hashed(filename, record[entry], name)
                if place == 0:
                    yield from self.outcomes(filename, name, record)
            elif part == "fgsm":  # other attacks had no files of their own once
                yield f"{name} lacks {entry}"

    def attacked(self, name: str, record: Mapping[str, Any]) -> Iterator[str]:
        """Hold the network that a record names against the one that is there."""
        try:
            model = _sha256((self.path / results.MODEL).read_bytes())
        except OSError:
            yield f"{name} is of a network that is not there"
        else:
            if record["model_sha256"] != model:
                yield f"{name} is of another network than {results.MODEL}"

    def outcomes(self, filename: str, name: str, record: Mapping[str, Any]) -> Iterator[str]:
        """Hold the outcome of each image against the counts."""
        import numpy as np

        try:
            content = (self.path / filename).read_bytes()
        except OSError:
            return
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                clean, smallest = arrays["clean_correct"], arrays["smallest_epsilon"]
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            yield f"{filename} cannot be read: {error}"
            return
        if len(clean) != record["n_test"] or len(smallest) != record["n_test"]:
            yield f"{filename} has {len(clean)} images, {name} counts {record['n_test']}"
        elif int(clean.sum()) != record["clean_correct"]:
            yield (
                f"{filename} has {int(clean.sum())} images that are classified correctly, "
                f"{name} counts {record['clean_correct']}"
            )
        else:
            yield from (f"{filename} has {found}, {name} counts {n}" for found, n in _wrong_outcomes(smallest, record))

    def provenance(self, part: str, config: Configuration | None) -> Iterator[str]:
        name = f"{FOLDER}/{part}.json"
        try:
            record = load_provenance(self.path, part)
        except PlmnistError as error:
            yield self.sentence(error)
            return
        outputs, inputs = record.get("outputs"), record.get("inputs")
        if not isinstance(outputs, dict) or not isinstance(inputs, dict):
            yield f"{name} lacks outputs or inputs"
            return
        for filename in PARTS[part]:
            # Of a file that is not there its record tells, if it should be.
            if filename not in outputs and (self.path / filename).exists():
                yield f"{name} does not name {filename}"
        for filename, expected in outputs.items():
            yield from self.hashed(filename, expected, name)
        if config is not None:
            wanted = config.training_mapping() if part in ("train", "checks") else config.to_mapping()
            if inputs.get("config") != wanted:
                yield f"{name} is of another configuration than {self.config_name}"
        if part != "train":
            try:
                model = results.load_train(self.path)["model_sha256"]
            except (ResultError, KeyError):
                return
            if inputs.get("model_sha256") != model:
                yield f"{name} names another network than {results.TRAIN_RECORD}"

    def other(self, part: str) -> Iterator[str]:
        """Hold files that were made from the results of many folders against their provenance."""
        name = f"{FOLDER}/{part}.json"
        try:
            outputs = load_provenance(self.path, part).get("outputs")
        except PlmnistError as error:
            yield self.sentence(error)
            return
        if not isinstance(outputs, dict):
            yield f"{name} lacks outputs"
            return
        for filename, expected in outputs.items():
            yield from self.hashed(filename, expected, name)

    def sentence(self, error: PlmnistError) -> str:
        return _sentence(error, self.path)

    def hashed(self, name: str, expected: object, says: str) -> Iterator[str]:
        try:
            found = _sha256((self.path / name).read_bytes())
        except FileNotFoundError:
            yield f"{name} is missing; {says} names it"
        except OSError as error:
            yield f"{name} cannot be read: {error.strerror}"
        else:
            if found != expected:
                yield f"{name} is not the file that {says} names: its SHA-256 is {found}, expected {expected}"


def _sentence(error: PlmnistError, folder: Path) -> str:
    # What is outdated is not damaged: it is to be seen that nothing has happened to it.
    text = error.one_line if isinstance(error, OutdatedError) else str(error)
    return text.replace(f"{folder}/", "")


def _wrong_entries(name: str, record: Mapping[str, Any], entries: Mapping[str, Any]) -> Iterator[str]:
    for entry, kind in entries.items():
        if entry not in record:
            yield f"{name} lacks {entry}"
        elif not isinstance(record[entry], kind) or isinstance(record[entry], bool):
            yield f"{name}: {entry} is {record[entry]!r}"


def _wrong_point(name: str, where: str, point: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    """Hold the rates of one budget against its counts."""
    attack = record["attack"]
    try:
        given = point["adversarial_correct_given_clean"]
        if "adversarial_correct" in point:
            adversarial = point["adversarial_correct"]
            yield from _wrong_rate(name, f"{attack}_acc{where}", point[f"{attack}_acc"], adversarial, record["n_test"])
            if given > adversarial:
                yield f"{name}: adversarial_correct_given_clean{where} is more than adversarial_correct"
        of_clean = point[f"{attack}_acc_given_clean" if "adversarial_correct" in point else f"{attack}_acc"]
        yield from _wrong_rate(name, f"{attack}_acc_given_clean{where}", of_clean, given, record["clean_correct"])
    except (KeyError, TypeError, AttributeError):
        yield f"{name}: an entry is missing or no number{where}"


def _wrong_confusions(name: str, record: Mapping[str, Any]) -> Iterator[str]:
    """Hold the images counted by class, where a record has them, against its other counts."""
    of_class = set()
    for when in ("clean", "adversarial"):
        entry = f"{when}_confusion"
        if entry not in record:
            continue
        try:
            of_class.add(tuple(sum(row) for row in record[entry]))
            counted = sum(map(sum, record[entry])), sum(row[i] for i, row in enumerate(record[entry]))
        except (TypeError, IndexError):
            yield f"{name}: {entry} is no matrix of counts"
            continue
        told = record["n_test"], record.get(f"{when}_correct")
        if counted != told:
            sentence = "{} has {} images, {} of them right, the record counts {} and {}"
            yield f"{name}: {sentence.format(entry, *counted, *told)}"
    if len(of_class) > 1:
        yield f"{name}: clean_confusion and adversarial_confusion are of other images"


def _wrong_outcomes(smallest: Any, record: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Hold the smallest budget that fools each image against the counts at each budget.

    What no budget up to some epsilon fools withstands it. At the smallest there is nothing else that does; at a larger
    one there may be, since an attack can fail where a weaker one did not.
    """
    try:
        points = sorted((point["epsilon"], point["adversarial_correct_given_clean"]) for point in record["curve"])
        for number, (epsilon, counted) in enumerate(points):
            withstanding = int((smallest > epsilon).sum())
            if withstanding > counted or (number == 0 and withstanding != counted):
                yield f"{withstanding} images that withstand epsilon {epsilon:g}", counted
    except (KeyError, TypeError, ValueError):
        return  # said already


def _wrong_rate(name: str, entry: str, rate: float | None, count: int, n: int) -> Iterator[str]:
    if not 0 <= count <= n:
        yield f"{name}: {count} of {n} for {entry}"
    elif (n == 0) != (rate is None) or (rate is not None and abs(rate - count / n) > _RATE_TOLERANCE):
        yield f"{name}: {entry} is {rate}, but the counts are {count} of {n}"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
