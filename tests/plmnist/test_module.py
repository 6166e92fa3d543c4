from __future__ import annotations

import csv

import pytest
import torch

pl = pytest.importorskip("lightning.pytorch")

from plmnist.evaluation import one_thread  # noqa: E402
from plmnist.model import Network, initialise  # noqa: E402
from plmnist.module import LitMNIST, fit  # noqa: E402
from plmnist.training import train  # noqa: E402

pytestmark = [
    # Lightning advises more worker processes and more frequent logs,
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
    # and walks nested batches with a test that torch has deprecated.
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.* is deprecated:FutureWarning"),
]


def make_network(digits, seed=1, drop=0.0):
    split = digits.split(seed)
    network = Network(64, 16, drop, mean=split.mean, std=split.std)
    initialise(network, seed)
    return network


def make_trainer(tmp_path, **options):
    return pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path, **options,
    )  # fmt: skip


def test_module_works_with_an_ordinary_data_loader(digits, tmp_path):
    pairs = torch.utils.data.TensorDataset(digits.train.pixels(), digits.train.labels)
    loader = torch.utils.data.DataLoader(pairs, batch_size=50)
    module = LitMNIST(make_network(digits, drop=0.1), learning_rate=1e-2)
    trainer = make_trainer(tmp_path)
    trainer.fit(module, loader, loader)
    val_acc = trainer.callback_metrics["val_acc"].item()
    (tested,) = trainer.test(module, loader, verbose=False)
    assert tested["test_acc"] == pytest.approx(val_acc)
    assert tested["test_acc"] > 0.5
    assert module.metrics["train"].n == len(pairs)


def test_csv_log_agrees_with_the_history(digits, make_config, tmp_path):
    config = make_config(num_epochs=2)
    network = make_network(digits, drop=config.dropout_prob)
    rows = []
    with one_thread():
        fit(network, config, digits, rows.append, log_dir=tmp_path)
    assert rows == list(train(config, data=digits).history)
    (log,) = tmp_path.rglob("metrics.csv")
    logged = list(csv.DictReader(log.read_text().splitlines()))
    for name, read in (("val_loss", lambda r: r.val.loss), ("train_acc", lambda r: r.train.acc)):
        found = [float(line[name]) for line in logged if line[name]]
        assert found == pytest.approx([read(row) for row in rows], rel=1e-6)


def test_engine_leaves_nothing_behind(digits, make_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train(make_config(num_epochs=1), data=digits, engine="lightning")
    assert list(tmp_path.iterdir()) == []
