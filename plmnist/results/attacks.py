"""The files of an attack: for FGSM examples and a figure, and for each attack a record, which is written last."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plmnist.config import Configuration
from plmnist.data import data_hashes
from plmnist.errors import ResultError
from plmnist.results.files import Write, json_bytes, load_verified, sha256, write_in_order
from plmnist.results.records import (
    ATTACK_FILES,
    ATTACK_FORMAT,
    ATTACK_RECORDS,
    MODEL,
    device_entry,
    load_record,
)
from plmnist.results.training import load_train
from plmnist.sample import Sample

if TYPE_CHECKING:
    import numpy as np

    from plmnist.attacks import AttackCounts, AttackResult
    from plmnist.perturbations import Attack

__all__ = [
    "attack_record",
    "is_attacked",
    "load_attack",
    "load_examples",
    "load_outcomes",
    "pack_arrays",
    "pack_examples",
    "pack_outcomes",
    "save_attack",
]


def attack_record(
    config: Configuration,
    result: AttackResult,
    *,
    model_sha256: str,
    attack: Attack,
    n_all: int,
    **files: bytes,
) -> bytes:
    """Return the content of an attack's record; the first of the result's epsilons must be that of `config`.

    `n_all` is the number of test images, of which the result may be about some, evenly spread. `files` are as
    :func:`save_attack` takes them.
    """
    main = result.counts[0]
    assert main.epsilon == config.fgsm_epsilon
    record = {
        "format": ATTACK_FORMAT,
        "attack": attack.name,
        "settings": attack.settings(),
        "config": config.to_mapping(),
        "n_test": main.n,
        **Sample(main.n, n_all).entry(),
        "n_zero_gradient": result.n_zero_gradient,
        "clean_correct": main.clean_correct,
        "clean_acc": main.clean_acc,
        **_curve_point(main, attack.name),
        "curve": [_curve_point(counts, attack.name) for counts in sorted(result.counts, key=lambda c: c.epsilon)],
        "clean_confusion": result.confusion(None).tolist(),
        "adversarial_confusion": result.confusion(0).tolist(),
        "model_sha256": model_sha256,
        **{f"{name}_sha256": sha256(content) for name, content in files.items()},
        "data_sha256": data_hashes(config.dataset),
        **device_entry(result.device),
    }
    return json_bytes(record)


def save_attack(
    folder: Path, attack: str = "fgsm", *, record: bytes, write: Write = write_in_order, **files: bytes
) -> None:
    """Write the results of an attack into a folder, the record last; a record that is there already is removed first.

    `files` are the contents of :data:`ATTACK_FILES`, each by its entry of the record without ``_sha256``.
    """
    (folder / ATTACK_RECORDS[attack]).unlink(missing_ok=True)
    contents = {ATTACK_FILES[attack][f"{name}_sha256"]: content for name, content in files.items()}
    write(folder, {**contents, ATTACK_RECORDS[attack]: record})


def is_attacked(
    folder: Path,
    config: Configuration,
    epsilons: list[float],
    *,
    attack: Attack | None = None,
    n_images: int | None = None,
) -> bool:
    """Return whether a folder holds a verified attack on its present network at all these epsilons.

    The attack is FGSM for None; it was made on exactly `n_images`, evenly spread, or on all for None.
    """
    try:
        name, settings = ("fgsm", {}) if attack is None else (attack.name, attack.settings())
        record, train = load_attack(folder, name), load_train(folder)
        return (
            record["config"] == config.to_mapping()
            and record["settings"] == settings
            and (made_on := Sample.of_record(record)) == Sample.spread(n_images, made_on.of)
            and record["data_sha256"] == data_hashes(config.dataset)
            and record["model_sha256"] == train["model_sha256"] == sha256((folder / MODEL).read_bytes())
            and {point["epsilon"] for point in record["curve"]} >= set(epsilons)
            and all(record[entry] == sha256((folder / file).read_bytes()) for entry, file in ATTACK_FILES[name].items())
        )
    except (ResultError, OSError, KeyError, TypeError, ValueError):
        return False


def load_attack(folder: Path | str, attack: str = "fgsm") -> dict[str, Any]:
    """Return the record of a finished attack, ``fgsm.json``, ``pgd.json`` or ``noise.json``.

    Keys: ``format``, ``attack`` and its ``settings``, ``config``; ``epsilon`` in pixel units; the integers ``n_test``,
    ``clean_correct``, ``adversarial_correct``, ``adversarial_correct_given_clean`` (before and after) and
    ``n_zero_gradient``; the rates ``clean_acc`` and ``<attack>_acc`` (of all ``n_test``) and
    ``<attack>_acc_given_clean`` (of ``clean_correct``; null if there are none); ``curve``, a list with epsilon, counts
    and rates for every epsilon; ``clean_confusion`` and ``adversarial_confusion``, the number of images by true class
    (ten rows) and predicted one (ten columns), before the attack and at `epsilon`; hashes of the network attacked, of
    the data and of the attack's other files; ``device`` as in :func:`load_train`. If not all test images
    were attacked, ``subset`` says how many (``spread``: evenly over all; of older records ``first``) of how many
    (``of``), and ``n_test`` and all counts are about these; :class:`plmnist.sample.Sample` knows their places.

    Raises
    ------
    ResultError
        If there is none or it can't be understood.
    """
    hint = f"Attack it first: plmnist attack{'' if attack == 'fgsm' else f' --attack {attack}'}"
    return load_record(Path(folder) / ATTACK_RECORDS[attack], hint=hint)


def load_examples(folder: Path | str) -> dict[str, np.ndarray[Any, Any]]:
    """Return what FGSM did to each image, ``fgsm_examples.npz``, after holding it against its record.

    Names are those that :func:`pack_examples` describes.

    Raises
    ------
    ResultError
        If the file or its record is missing or damaged.
    """
    return load_outcomes(folder)


def load_outcomes(folder: Path | str, attack: str = "fgsm") -> dict[str, np.ndarray[Any, Any]]:
    """Return what an attack did to each image, after holding the file against its record.

    There are ``clean_correct`` and ``smallest_epsilon`` as :func:`pack_outcomes` describes them, and of FGSM more.

    Raises
    ------
    ResultError
        If the file or its record is missing or damaged, or the record is of before there was one.
    """
    import numpy as np

    entry, file = next(iter(ATTACK_FILES[attack].items()))
    expected = load_attack(folder, attack).get(entry)
    called, hint = f"the file that {ATTACK_RECORDS[attack]} names", f"Attack again: plmnist attack --attack {attack}"
    content = load_verified(Path(folder) / file, expected, called=called, hint=hint)
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return dict(arrays)


def pack_examples(result: AttackResult, which: int, *, n_all: int | None = None) -> bytes:
    """Return the content of ``fgsm_examples.npz``: the examples at one of the epsilons, and every image's outcome.

    Of the examples, the first image of each class: ``index``, ``label``, ``original`` and ``adversarial`` pixels,
    ``clean_prediction`` and ``adversarial_prediction``, at ``epsilon``. Per test image what :func:`pack_outcomes` says.
    If the result is about some of `n_all` test images, evenly spread, ``index`` is the place among all.
    """
    import numpy as np

    examples = result.examples
    sample = Sample.spread(len(result.labels), n_all or len(result.labels))
    return pack_arrays(
        {
            "index": np.asarray(sample.rows())[examples.index.numpy()],
            "label": examples.label.numpy(),
            "original": examples.original.numpy(),
            "adversarial": examples.adversarial[which].numpy(),
            "clean_prediction": examples.clean_prediction.numpy(),
            "adversarial_prediction": examples.adversarial_prediction[which].numpy(),
            "epsilon": np.float64(result.counts[which].epsilon),
            **_outcomes(result),
        }
    )


def pack_outcomes(result: AttackResult) -> bytes:
    """Return the content of ``pgd_outcomes.npz`` or ``noise_outcomes.npz``: every image's outcome.

    Per image attacked: ``clean_correct``, and ``smallest_epsilon`` of the curve at which it is misclassified: 0 if it
    is to begin with, infinity if it never is.
    """
    return pack_arrays(_outcomes(result))


def _outcomes(result: AttackResult) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "clean_correct": (result.clean_predictions == result.labels).numpy(),
        "smallest_epsilon": result.smallest_epsilon.numpy(),
    }


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


def _curve_point(counts: AttackCounts, name: str) -> dict[str, Any]:
    return {
        "epsilon": counts.epsilon,
        "adversarial_correct": counts.adversarial_correct,
        "adversarial_correct_given_clean": counts.adversarial_correct_given_clean,
        f"{name}_acc": counts.adversarial_acc,
        f"{name}_acc_given_clean": counts.adversarial_acc_given_clean,
    }
