from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from plmnist import cli, results
from plmnist.comparison import COMPARATORS
from plmnist.provenance import PARTS


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_mapping) -> Path:
    root = tmp_path_factory.mktemp("made")
    for name, changes in {"a": {}, "other": {"seed": 2}, "wider": {"hidden_size": 17}}.items():
        (root / name).mkdir()
        (root / name / "config.json").write_text(json.dumps(make_mapping(**changes)))
    folders = [str(root / name) for name in ("a", "other", "wider")]
    assert cli.main(["train", *folders]) == 0
    assert cli.main(["attack", *folders]) == 0
    assert cli.main(["attack", *folders, "--legacy-clamp"]) == 0
    assert cli.main(["check", *folders]) in (0, 1)  # networks of two epochs may well earn a warning
    return root


@pytest.fixture
def pair(made, tmp_path) -> tuple[Path, Path]:
    return made / "a", Path(shutil.copytree(made / "a", tmp_path / "again"))


def compare(pair: tuple[Path, Path], name: str) -> tuple[bool | None, str]:
    return COMPARATORS[name](pair[0] / name, pair[1] / name)


def edit(path: Path, change: Callable[[dict], None]) -> None:
    record = json.loads(path.read_bytes())
    change(record)
    path.write_text(json.dumps(record))


def add(record: dict, entry: str, number: int) -> None:
    record[entry] += number


def change_network(path: Path, change: Callable[[dict[str, np.ndarray]], object]) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(path)
    change(tensors)
    save_file({name: np.asarray(tensor) for name, tensor in tensors.items()}, path)


def test_every_file_of_the_parts_of_the_study_has_a_comparator():
    assert {name for part in PARTS for name in PARTS[part]} <= set(COMPARATORS)


@pytest.mark.parametrize("name", [name for name in COMPARATORS if not name.startswith(("pgd", "noise"))])
def test_equal_files_do_not_deviate(pair, name):
    is_within, _ = compare(pair, name)
    assert is_within is (None if name == "fgsm.png" else True)


@pytest.mark.parametrize("name", ["model.safetensors", "train.json", "fgsm.json", "fgsm_examples.npz", "history.csv"])
@pytest.mark.parametrize("other", ["other", "wider"])
def test_results_of_another_configuration_are_beyond_tolerance(made, name, other):
    is_within, text = COMPARATORS[name](made / "a" / name, made / other / name)
    if (name, other) == ("fgsm_examples.npz", "wider"):
        assert is_within is not None  # networks that small may err on nearly the same images
    else:
        assert not is_within, text


def test_weights_may_deviate_a_little(pair):
    path = pair[1] / results.MODEL
    change_network(path, lambda tensors: tensors.update({k: v * np.float32(1.01) for k, v in tensors.items()}))
    is_within, text = compare(pair, results.MODEL)
    assert is_within
    assert "0.01 of 0.2" in text
    change_network(path, lambda tensors: tensors.update({k: v * np.float32(1.3) for k, v in tensors.items()}))
    assert compare(pair, results.MODEL)[0] is False


def test_weights_that_are_no_numbers_are_beyond_tolerance(pair):
    change_network(pair[1] / results.MODEL, lambda tensors: [v.fill(np.nan) for v in tensors.values()])
    assert compare(pair, results.MODEL)[0] is False


@pytest.mark.parametrize(
    ("name", "change", "is_within"),
    [
        ("train.json", lambda r: add(r, "test_correct", 5), True),
        ("train.json", lambda r: add(r, "test_correct", 6), False),
        ("train.json", lambda r: r.update(val_loss=r["val_loss"] * 1.05), True),
        ("train.json", lambda r: r.update(val_loss=r["val_loss"] * 1.2), False),
        ("train.json", lambda r: r.update(model_sha256="0"), True),
        ("train.json", lambda r: r.update(n_test=r["n_test"] + 1), False),
        ("train.json", lambda r: r["data_sha256"].update({"digits.csv.gz": "0"}), False),
        ("train.json", lambda r: r["config"].update(seed=9), False),
        ("train.json", lambda r: r.pop("n_test"), False),
        ("fgsm.json", lambda r: add(r["curve"][3], "adversarial_correct", 5), True),
        ("fgsm.json", lambda r: add(r["curve"][3], "adversarial_correct", 6), False),
        ("fgsm.json", lambda r: r["curve"].pop(), False),
        ("fgsm.json", lambda r: add(r["clean_confusion"][3], 5, 5), True),
        ("fgsm.json", lambda r: add(r["clean_confusion"][3], 5, 6), False),
        ("checks.json", lambda r: r["checks"][4].update(sentence="Said otherwise."), True),
        ("checks.json", lambda r: r["checks"][4].update(passed="perhaps"), False),
        ("checks.json", lambda r: r["checks"].pop(), False),
        ("fgsm.json", lambda r: r.update(epsilon=0.06), False),
    ],
)
def test_counts_and_losses_may_deviate_and_nothing_else(pair, name, change, is_within):
    edit(pair[1] / name, change)
    assert compare(pair, name)[0] is is_within


@pytest.mark.parametrize("name", ["model.safetensors", "train.json", "history.csv", "fgsm_examples.npz"])
def test_damaged_files_are_beyond_tolerance(pair, name):
    (pair[1] / name).write_bytes(b"\x01")
    assert compare(pair, name)[0] is False
