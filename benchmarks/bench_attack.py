"""FGSM at nine epsilons on the 10,000 test images of MNIST: plmnist and foolbox, in one run, on one thread.

Both attack the same network (one epoch of training) and count what survives; the counts are compared. Rounds are
interleaved; medians. foolbox attacks in batches of 1,000, which is faster for it than all images at once.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_attack.py [--record [FILE]]
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings

import torch
from setting import add_record_option, describe, table

from plmnist.attacks import attack_fgsm
from plmnist.config import Configuration
from plmnist.data import ImageSet
from plmnist.model import Network
from plmnist.training import prepare_data, train

EPSILONS = [0.0, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]


def attack_with_foolbox(network: Network, images: ImageSet, batch: int) -> list[int]:
    import foolbox

    model = foolbox.PyTorchModel(network, bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfFastGradientAttack(random_start=False)
    survivors = torch.zeros(len(EPSILONS), dtype=torch.long)
    for start in range(0, len(images), batch):
        rows = slice(start, start + batch)
        _, _, is_adv = attack(model, images.pixels(rows), images.labels[rows], epsilons=EPSILONS)
        survivors += (~is_adv).sum(1)
    return survivors.tolist()


def attack_with_plmnist(network: Network, images: ImageSet) -> list[int]:
    return [counts.adversarial_correct for counts in attack_fgsm(network, images, EPSILONS).counts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    add_record_option(parser, "attack")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # foolbox and what it imports use deprecated names
    torch.set_num_threads(1)
    config = Configuration(
        dataset="mnist", num_epochs=1, batch_size=128, hidden_size=64, learning_rate=2e-4, dropout_prob=0.1,
        fgsm_epsilon=0.0, seed=1,
    )  # fmt: skip
    data = prepare_data("mnist")
    network = train(config, data=data).network
    peers = {
        "foolbox": lambda: attack_with_foolbox(network, data.test, 1000),
        "foolbox, all images at once": lambda: attack_with_foolbox(network, data.test, len(data.test)),
        "plmnist": lambda: attack_with_plmnist(network, data.test),
    }
    counts = {name: run() for name, run in peers.items()}
    times: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(arguments.rounds):
        for name, run in peers.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    ours = statistics.median(times["plmnist"])
    rows = [
        [name, f"{statistics.median(t):.3f}", f"{min(t):.3f} - {max(t):.3f}", f"{statistics.median(t) / ours:.1f}"]
        for name, t in times.items()
    ]
    text = "\n\n".join(
        [
            "# FGSM at nine epsilons on 10,000 images",
            __doc__.partition("\n\n")[2].rpartition("\n\n")[0],
            table(["who", "median, s", "range, s", "in units of plmnist"], rows),
            "Images classified correctly after the attack:",
            table(
                ["epsilon", *(f"{epsilon:g}" for epsilon in EPSILONS)],
                [[name, *map(str, found)] for name, found in counts.items()],
            ),
            describe(["torch", "foolbox", "numpy"]),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")


if __name__ == "__main__":
    main()
