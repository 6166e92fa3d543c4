"""What a result folder holds: names of files, versions of their formats, and what is common to all records."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from plmnist.config import ATTACKS, STACKED, Configuration
from plmnist.errors import OutdatedError, ResultError
from plmnist.results.files import load_json

FORMAT = 1
"""Version of a training's numbers: raised whenever the same configuration would give other results or other files."""

ATTACK_FORMAT = 2
"""Version of an attack's numbers. 2: the whole curve and per-image results."""

CHECK_FORMAT = 3
"""Version of the checks: raised whenever the same network would be judged otherwise. 2: no gradient at all is
no saturation. 3: a rise of accuracy below chance is none; logits beyond float32 are saturated; an output is that of one
image."""

MODEL = "model.safetensors"
HISTORY = "history.csv"
TRAIN_RECORD = "train.json"
EXAMPLES = "fgsm_examples.npz"
FIGURE = "fgsm.png"
ATTACK_RECORD = "fgsm.json"
ATTACK_RECORDS = {name: f"{name}.json" for name in (*ATTACKS, "fgsm_legacy")}
"""Name of an attack -> its record. fgsm_legacy is what the original tutorial computes."""
ATTACK_FILES: dict[str, dict[str, str]] = {
    **{name: {"outcomes_sha256": f"{name}_outcomes.npz"} for name in ATTACKS},
    "fgsm": {"examples_sha256": EXAMPLES, "figure_sha256": FIGURE},
    "fgsm_legacy": {},
}
"""Name of an attack -> entry of its record -> the file whose hash it is. The first file holds each image's outcome."""
CHECKS = "checks.json"

FORMATS = {TRAIN_RECORD: FORMAT, **dict.fromkeys(ATTACK_RECORDS.values(), ATTACK_FORMAT), CHECKS: CHECK_FORMAT}
"""Name of a record -> the version of its format that is written and read today."""


def read_config(path: Path) -> Configuration:
    """Return the configuration in a JSON file.

    Raises
    ------
    ConfigurationError
        If its entries are not usable.
    ResultError
        If the file is missing or is not JSON.
    """
    mapping = load_json(path, hint="Each folder needs a configuration; name its file with --config-name.")
    return Configuration.from_mapping(mapping)


def load_record(path: Path, *, hint: str) -> dict[str, Any]:
    record = load_json(path, hint=hint)
    if not isinstance(record, dict) or "format" not in record:
        raise ResultError(f"{path} is not a record of this package", hint=hint)
    found, expected = record["format"], FORMATS[path.name]
    if found == expected:
        return record
    if isinstance(found, int) and found < expected:
        raise OutdatedError(
            f"{path} was made by an earlier version of plmnist: it has format {found}, this one makes {expected}",
            hint="Remove it and run again.",
        )
    raise ResultError(f"{path} has format {found!r}, this version of plmnist knows {expected}", hint=hint)


def device_entry(device: str) -> dict[str, str]:
    """Return what a record says about where it was made: nothing for the processor, whose bytes are the reference."""
    return {} if device == "cpu" else {"device": device}


def engine_entry(engine: str) -> dict[str, str]:
    """Return what a record says about the engine: nothing for those that all give the same bytes."""
    return {"engine": engine} if engine == STACKED else {}
