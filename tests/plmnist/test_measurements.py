from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import plmnist
from plmnist.batch import attack_folders, train_folders
from plmnist.errors import ResultError
from plmnist.measurements import COLUMNS, measurements, rows_of
from plmnist.results import load_outcomes


class Quiet:
    """Lets nothing fail unnoticed."""

    def started(self, folder):
        pass

    def done(self, folder, summary):
        pass

    def failed(self, folder, error):
        raise error


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, make_mapping) -> Path:
    """Two networks attacked with FGSM and noise, one that is only trained, and an empty folder."""
    workspace = tmp_path_factory.mktemp("workspace")
    for name, seed in (("a", 1), ("b", 2), ("trained", 3), ("empty", 4)):
        (workspace / name).mkdir()
        mapping = make_mapping(seed=seed, num_epochs=1, fgsm_epsilon=0.07)
        (workspace / name / "config.json").write_text(json.dumps(mapping))
    train_folders([str(workspace / name) for name in ("a", "b", "trained")], Quiet(), config_name="config.json")
    folders = [str(workspace / name) for name in ("a", "b")]
    attack_folders(folders, Quiet(), config_name="config.json", attacks=["fgsm", "noise"])
    return workspace


def record_of(folder: Path, name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_bytes())


def test_every_point_of_every_curve_is_a_row_with_the_counts_of_its_record(workspace):
    frame = plmnist.to_dataframe([workspace / "a"])
    assert list(frame.columns) == list(COLUMNS)
    for attack in ("fgsm", "noise"):
        record = record_of(workspace / "a", attack)
        rows = frame[(frame.attack == attack) & (frame.metric == "test_acc")]
        assert rows.epsilon.tolist() == [point["epsilon"] for point in record["curve"]]
        assert rows.numerator.tolist() == [point["adversarial_correct"] for point in record["curve"]]
        assert rows.value.tolist() == [point[f"{attack}_acc"] for point in record["curve"]]
        assert set(rows.denominator) == {359}
        given = frame[(frame.attack == attack) & (frame.metric == "test_acc_given_clean")]
        assert given.value.tolist() == [point[f"{attack}_acc_given_clean"] for point in record["curve"]]
        assert set(given.denominator) == {record["clean_correct"]}
    train = record_of(workspace / "a", "train")
    plain = frame[frame.attack == "none"].set_index("metric")
    for part in ("train", "val", "test"):
        assert plain.value[f"{part}_acc"] == train[f"{part}_acc"]
        assert plain.value[f"{part}_loss"] == train[f"{part}_loss"]
        assert plain.denominator[f"{part}_loss"] == train[f"n_{part}"]


def test_a_workspace_is_read_as_a_whole(workspace):
    frame = plmnist.to_dataframe(workspace)
    assert frame.equals(plmnist.to_dataframe(workspace / name for name in ("a", "b", "empty", "trained")))
    assert frame.groupby("job").size().to_dict() == {"a": 46, "b": 46, "trained": 6}
    assert set(frame.seed) == {1, 2, 3}


def test_the_budget_of_the_configuration_is_known_once_a_network_is_attacked(workspace):
    frame = plmnist.to_dataframe(workspace).set_index("job")
    assert set(frame.loc["a"].fgsm_epsilon) == {0.07}
    assert frame.loc["trained"].fgsm_epsilon.isna().all()


def test_every_share_is_its_numerator_over_its_denominator_which_is_named(workspace):
    for row in rows_of(workspace / "b"):
        assert row["counted"]
        if row["numerator"] is not None:
            assert row["value"] == row["numerator"] / row["denominator"]
        else:
            assert row["metric"].endswith("_loss")


def test_no_results_give_an_empty_table_with_its_columns(workspace):
    frame = plmnist.to_dataframe([workspace / "empty"])
    assert (len(frame), list(frame.columns)) == (0, list(COLUMNS))


def test_an_attack_on_another_network_does_not_count(workspace, tmp_path):
    for name in ("train", "fgsm", "noise"):
        (tmp_path / f"{name}.json").write_bytes((workspace / "a" / f"{name}.json").read_bytes())
    other = record_of(workspace / "b", "fgsm")
    (tmp_path / "fgsm.json").write_text(json.dumps(other))
    assert {m.attack for m in measurements(tmp_path)} == {"none", "noise"}


def test_the_worst_case_is_a_row_for_each_budget_of_the_images_that_all_attacks_met(workspace, tmp_path):
    folder = tmp_path / "a"
    shutil.copytree(workspace / "a", folder)
    assert not frame_of(folder, "worst").size, "PGD is missing"
    options = {"attacks": ["pgd"], "n_images": 100, "settings": {"pgd": {"steps": 3}}}
    attack_folders([str(folder)], Quiet(), config_name="config.json", **options)
    rows = frame_of(folder, "worst")
    assert rows.epsilon.tolist() == frame_of(folder, "pgd").epsilon.tolist()
    assert set(rows.metric) == {"test_acc"}
    assert set(rows.denominator) == {100}
    met = [i * 359 // 100 for i in range(100)]
    smallest = {a: load_outcomes(folder, a)["smallest_epsilon"] for a in ("fgsm", "noise", "pgd")}
    together = np.min([smallest["fgsm"][met], smallest["noise"][met], smallest["pgd"]], axis=0)
    assert rows.numerator.tolist() == [int((together > epsilon).sum()) for epsilon in rows.epsilon]
    assert rows.numerator.nunique() > 3


def frame_of(folder: Path, attack: str) -> pd.DataFrame:
    frame = plmnist.to_dataframe([folder])
    return frame[(frame.attack == attack) & (frame.metric == "test_acc")]


def test_a_damaged_record_is_named(workspace, tmp_path):
    (tmp_path / "train.json").write_text('{"format": 1')
    with pytest.raises(ResultError, match=r"train\.json"):
        plmnist.to_dataframe([tmp_path])


def test_a_network_that_errs_always_has_no_share_given_clean(workspace, tmp_path):
    (tmp_path / "train.json").write_bytes((workspace / "a" / "train.json").read_bytes())
    record = record_of(workspace / "a", "fgsm")
    record |= {"clean_correct": 0, "curve": [{"epsilon": 0.0, **dict.fromkeys(_COUNTS, 0)}]}
    (tmp_path / "fgsm.json").write_text(json.dumps(record))
    found = {m.metric: m.value for m in measurements(tmp_path) if m.attack == "fgsm"}
    assert found == {"test_acc": 0.0, "test_acc_given_clean": None}


_COUNTS = ("adversarial_correct", "adversarial_correct_given_clean")


def test_importing_the_package_and_reading_rows_imports_nothing_heavy(workspace):
    code = (
        "import sys, plmnist; from plmnist.measurements import rows_of; rows_of(sys.argv[1]);"
        "print({'torch', 'pandas', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(workspace / "a")]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "set()"
