"""The table of part 5: what its columns say, and its three forms."""

from __future__ import annotations

import csv
import io
import math

import pyarrow.parquet
import pytest
from src.seed_analysis import METRICS, FinishedJob, by_combination, full_table, seed_table
from src.tables import as_csv, as_parquet, as_text

from plmnist.measurements import Measurement

PARAMETERS = {
    "dataset": "digits",
    "num_epochs": 5,
    "batch_size": 32,
    "hidden_size": 64,
    "learning_rate": 1e-3,
    "dropout_prob": 0.1,
    "fgsm_epsilon": 0.1,
    "network": "mlp",
    "training": "standard",
    "training_epsilon": 0.0,
}


def job(seed: int, correct: int, **changes: object) -> FinishedJob:
    """Make a job of which `correct` of 100 images are classified correctly, whatever is measured."""
    results = {
        name: Measurement(attack, 0.0, metric, correct, 100, "images", correct / 100)
        if metric.endswith("_acc")
        else Measurement(attack, 0.0, metric, None, 100, "images", 1 - correct / 100)
        for name, (attack, metric) in METRICS.items()
    }
    return FinishedJob(f"{seed}", "", PARAMETERS | changes | {"seed": seed}, results)


def test_a_row_says_all_about_its_seeds():
    (row,) = full_table(by_combination([job(3, 70), job(1, 90)]))
    assert (row["n"], row["seeds"], row["test_acc_by_seed"]) == (2, [1, 3], [0.9, 0.7])
    assert row["test_acc_avg"] == pytest.approx(0.8)
    assert row["test_acc_std"] == pytest.approx(0.2 / math.sqrt(2))
    half_width = math.tan(0.475 * math.pi) * 0.1  # the closed form for two seeds
    assert row["test_acc_ci95_high"] - row["test_acc_avg"] == pytest.approx(half_width)
    assert row["test_acc_avg"] - row["test_acc_ci95_low"] == pytest.approx(half_width)


def test_the_error_of_the_test_set_is_that_of_one_network_and_knows_nothing_of_seeds():
    (alone,) = full_table(by_combination([job(1, 70)]))
    (many,) = full_table(by_combination([job(seed, 70) for seed in range(9)]))
    # Wilson for 70 of 100: (.6042, .7811), as in textbooks.
    assert alone["test_acc_sampling_ci95"] == pytest.approx((0.7811 - 0.6042) / 2, abs=1e-4)
    assert alone["test_acc_sampling_ci95"] == many["test_acc_sampling_ci95"]
    assert (alone["test_acc_std"], alone["test_acc_ci95_low"], alone["test_acc_ci95_high"]) == (None, None, None)
    assert many["test_acc_ci95_low"] is None, "seeds that agree by chance tell nothing of their scatter"


def test_a_loss_is_no_share_and_has_no_such_error():
    (row,) = full_table(by_combination([job(1, 70)]))
    assert [name for name in row if "sampling" in name] == [
        f"{metric}_sampling_ci95" for metric in ("test_acc", "val_acc", "fgsm_acc")
    ]


def test_optional_parameters_have_a_column_of_text_once_they_are_used():
    plain = seed_table(by_combination([job(1, 70)]))
    assert not {"network", "training", "training_epsilon"} & set(plain[0])
    both = by_combination([job(1, 70), job(1, 80, training="pgd", training_epsilon=0.1)])
    assert [(row["training"], row["training_epsilon"]) for row in seed_table(both)] == [("standard", 0.0), ("pgd", 0.1)]
    assert "network" not in seed_table(both)[0]


def test_text_csv_and_parquet_say_the_same():
    rows = full_table(by_combination([job(1, 70), job(2, 80), job(1, 60, dropout_prob=0.5)]))
    table = pyarrow.parquet.read_table(io.BytesIO(as_parquet(rows)))
    assert table.to_pylist() == rows
    for line, row in zip(csv.DictReader(io.StringIO(as_csv(rows))), rows, strict=True):
        assert line["test_acc_avg"] == repr(row["test_acc_avg"])
        assert line["test_acc_std"] == ("" if row["test_acc_std"] is None else repr(row["test_acc_std"]))
        assert [float(value) for value in line["test_acc_by_seed"].split()] == row["test_acc_by_seed"]
    text = as_text(seed_table(by_combination([job(1, 70), job(2, 80)]))).splitlines()
    assert len({len(line) for line in text}) == 1
    assert text[1].split()[text[0].split().index("test_acc_avg")] == "0.750000"


def test_parquet_has_equal_bytes_each_time_and_numbers_where_all_cells_are_empty():
    rows = full_table(by_combination([job(1, 70)]))
    assert as_parquet(rows) == as_parquet(rows)
    schema = pyarrow.parquet.read_table(io.BytesIO(as_parquet(rows))).schema
    assert str(schema.field("test_acc_std").type) == "double"


def test_no_rows_are_an_empty_table():
    assert (as_text([]), as_csv([])) == ("\n", "\n")
