"""Time of one epoch on real MNIST: plain PyTorch loop, tensor engine, Lightning engine, in one run, on one thread.

The plain loop is what one writes without an engine: data normalised and resident in memory, ``nn.Sequential``, shuffled
batches by indexing, cross-entropy, fused Adam; it measures no metrics. The engines' epochs are those a user gets:
random streams, training metrics and validation included. Rounds are interleaved, so that a slow minute of a shared
machine hits all alike; medians, and ratios of medians.

Adversarial training attacks each batch before it learns from it: once (fgsm) or seven times (pgd). Its cost is given
beside standard training of the same engine, measured in the same rounds.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_training.py [--record [FILE]]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import torch
from setting import add_record_option, describe, table
from torch import nn

from plmnist.config import Configuration
from plmnist.model import Network, initialise
from plmnist.training import ENGINES, TrainingData, prepare_data

BATCH, HIDDEN, RATE = 128, 64, 2e-4


def plain_epochs(data: TrainingData, drop: float, epochs: int) -> list[float]:
    split = data.split(1)
    images, labels = data.normalised(split)[split.train_rows], data.train.labels[split.train_rows]
    network = nn.Sequential(
        nn.Linear(784, HIDDEN), nn.ReLU(), nn.Dropout(drop),
        nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(drop),
        nn.Linear(HIDDEN, 10),
    )  # fmt: skip
    optimiser = torch.optim.Adam(network.parameters(), lr=RATE, fused=True)
    times = []
    for _ in range(epochs):
        start = time.perf_counter()
        order = torch.randperm(len(labels))
        for first in range(0, len(labels), BATCH):
            rows = order[first : first + BATCH]
            loss = nn.functional.cross_entropy(network(images[rows]), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        times.append(time.perf_counter() - start)
    return times


def engine_epochs(engine: str, training: str = "standard") -> Callable[[TrainingData, float, int], list[float]]:
    def run(data: TrainingData, drop: float, epochs: int) -> list[float]:
        config = Configuration(
            dataset="mnist", num_epochs=epochs, batch_size=BATCH, hidden_size=HIDDEN, learning_rate=RATE,
            dropout_prob=drop, fgsm_epsilon=0.0, seed=1, training=training,
            training_epsilon=0.0 if training == "standard" else 0.1,
        )  # fmt: skip
        split = data.split(1)
        network = Network(784, HIDDEN, drop, mean=split.mean, std=split.std)
        initialise(network, 1)
        marks = [time.perf_counter()]
        ENGINES[engine](network, config, data, lambda row: marks.append(time.perf_counter()))
        return [after - before for before, after in itertools.pairwise(marks)]

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3, help="per round; the first is a warm-up")
    add_record_option(parser, "training")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = prepare_data("mnist")
    peers = {
        "plain loop": plain_epochs,
        "tensor": engine_epochs("tensor"),
        "lightning": engine_epochs("lightning"),
        "tensor, training fgsm": engine_epochs("tensor", "fgsm"),
        "tensor, training pgd": engine_epochs("tensor", "pgd"),
    }
    drops = (0.0, 0.1, 0.5)
    times: dict[tuple[str, float], list[float]] = {(name, drop): [] for name in peers for drop in drops}
    for _ in range(arguments.rounds):
        for drop in drops:
            for name, run in peers.items():
                times[name, drop] += run(data, drop, arguments.epochs)[1:]
    rows = []
    for (name, drop), measured in times.items():
        middle = statistics.median(measured)
        of_plain, of_tensor = (middle / statistics.median(times[peer, drop]) for peer in ("plain loop", "tensor"))
        spread = f"{min(measured):.3f} - {max(measured):.3f}"
        rows.append([name, f"{drop:g}", f"{middle:.3f}", spread, f"{of_plain:.2f}", f"{of_tensor:.2f}"])
    text = "\n\n".join(
        [
            "# One epoch of training on MNIST",
            __doc__.partition("\n\n")[2].rpartition("\n\n")[0],
            f"55,000 images, batches of {BATCH}, 784-{HIDDEN}-{HIDDEN}-10, one thread; "
            f"{len(rows and measured)} epochs each.",
            table(["who", "dropout", "median, s", "range, s", "of the plain loop", "of tensor"], rows),
            describe(["torch", "lightning", "numpy"]),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")


if __name__ == "__main__":
    main()
