"""The file of the self-checks of a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist.data import data_hashes
from plmnist.errors import ResultError
from plmnist.results.files import Write, json_bytes, sha256, write_in_order
from plmnist.results.records import CHECK_FORMAT, CHECKS, MODEL, device_entry, engine_entry, load_record
from plmnist.results.training import load_train

if TYPE_CHECKING:
    from plmnist.checks import Check

__all__ = ["is_checked", "load_checks", "save_checks"]


def save_checks(
    folder: Path,
    train: Mapping[str, Any],
    found: Iterable[Check],
    *,
    device: str = "cpu",
    write: Write = write_in_order,
) -> None:
    """Write the findings about the network of a training's record, made on a device; earlier ones are removed first."""
    record = {
        "format": CHECK_FORMAT,
        "config": train["config"],
        "checks": [{"name": check.name, "passed": check.passed, "sentence": check.sentence} for check in found],
        "model_sha256": train["model_sha256"],
        "data_sha256": train["data_sha256"],
        **engine_entry(train.get("engine", "")),
        **device_entry(device),
    }
    (folder / CHECKS).unlink(missing_ok=True)
    write(folder, {CHECKS: json_bytes(record)})


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
    return load_record(Path(folder) / CHECKS, hint="Check it first: plmnist check")


def is_checked(folder: Path) -> bool:
    """Return whether a folder holds findings about its present network."""
    try:
        found, train = load_checks(folder), load_train(folder)
        return bool(
            found["data_sha256"] == data_hashes(train["config"]["dataset"])
            and found["model_sha256"] == train["model_sha256"] == sha256((folder / MODEL).read_bytes())
        )
    except (ResultError, OSError, KeyError, TypeError):
        return False
