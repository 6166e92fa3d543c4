"""Agreement with published numbers, on real MNIST.

Comparisons: the test accuracies of the tutorial this study replaces, the accuracy of Lightning's published MNIST
notebook, the FGSM curve of a network trained for five epochs, and, on the same networks, what the original tutorial
calls FGSM accuracy. Other random numbers are drawn than in the originals,
so agreement means: within the scatter of seeds. For each of our means the standard deviation over seeds is given, and
the interval in which the mean of as many other seeds as the published number rests on lies in 95 of 100 cases.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_validation.py [--record [FILE]] [--page FILE]
"""

from __future__ import annotations

import argparse

from agreement import HEAD, compare, mean_and_sd
from setting import add_page_option, add_record_option, describe, replace_section, table

from plmnist.attacks import attack_fgsm
from plmnist.config import Configuration
from plmnist.legacy import attack_legacy
from plmnist.training import Trained, TrainingData, prepare_data, train_lengths

TUTORIAL = {(1, 0.0): 0.909, (1, 0.1): 0.907, (1, 0.5): 0.876, (5, 0.0): 0.949, (5, 0.1): 0.949, (5, 0.5): 0.930}
"""(epochs, dropout) -> mean test accuracy over three seeds, measured by running the original."""

LIGHTNING_TEST, LIGHTNING_VAL = 0.9221, {1: 0.8878, 2: 0.9100, 3: 0.9236}
"""Lightning's notebook "mnist-hello-world", run of 2022-08-15: batch 256, 3 epochs, dropout 0.1, one seed."""

CURVE = {
    0.0: 0.9486, 0.01: 0.9245, 0.02: 0.8957, 0.05: 0.7420, 0.1: 0.3383, 0.15: 0.1016, 0.2: 0.0232, 0.25: 0.0046,
    0.3: 0.0002,
}  # fmt: skip
"""epsilon -> accuracy under FGSM of one network of five epochs, by an independent implementation."""


MNIST_STD = 0.3081
"""Standard deviation of the pixels, by which the original divides."""


def trained(data: TrainingData, seeds: int, lengths: tuple[int, ...], drop: float, batch: int) -> list[Trained]:
    found: list[Trained] = []
    for seed in range(1, seeds + 1):
        configs = [
            Configuration(
                dataset="mnist", num_epochs=n, batch_size=batch, hidden_size=64, learning_rate=2e-4,
                dropout_prob=drop, fgsm_epsilon=0.05, seed=seed,
            )
            for n in lengths
        ]  # fmt: skip
        train_lengths(configs, found.append, data=data)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=10, help="of each training, 1 to this (10)")
    add_page_option(parser, "accuracies")
    add_record_option(parser, "validation")
    arguments = parser.parse_args()
    data = prepare_data("mnist")

    rows, attacked = [], []
    for drop in (0.0, 0.1, 0.5):
        both = trained(data, arguments.seeds, (1, 5), drop, 128)
        for epochs in (1, 5):
            accuracies = [result.test.acc for result in both if result.config.num_epochs == epochs]
            rows.append([str(epochs), f"{drop:g}", *compare(TUTORIAL[epochs, drop], accuracies, published_n=3)])
        if drop == 0.1:
            attacked = [result for result in both if result.config.num_epochs == 5]
    rows.sort(key=lambda row: row[0])

    lightning = trained(data, arguments.seeds, (3,), 0.1, 256)
    lightning_rows = [["test, 3 epochs", *compare(LIGHTNING_TEST, [r.test.acc for r in lightning], published_n=1)]]
    for epoch, published in LIGHTNING_VAL.items():
        values = [result.history[epoch - 1].val.acc for result in lightning]
        lightning_rows.append([f"validation, epoch {epoch}", *compare(published, values, published_n=1)])

    curves = [attack_fgsm(result.network, data.test, CURVE) for result in attacked]
    curve_rows = [
        [f"{epsilon:g}", *compare(CURVE[epsilon], [c.counts[i].adversarial_acc for c in curves], published_n=1)]
        for i, epsilon in enumerate(CURVE)
    ]
    old = [attack_legacy(result.network, data.test, [epsilon / MNIST_STD for epsilon in CURVE]) for result in attacked]
    old_in_its_units = [attack_legacy(result.network, data.test, CURVE) for result in attacked]
    old_rows = [
        [
            f"{epsilon:g}",
            mean_and_sd([c.counts[i].adversarial_acc for c in curves]),
            mean_and_sd([c.counts[i].adversarial_acc_given_clean or 0.0 for c in curves]),
            mean_and_sd([c[i].acc or 0.0 for c in old]),
            mean_and_sd([c[i].acc or 0.0 for c in old_in_its_units]),
        ]
        for i, epsilon in enumerate(CURVE)
    ]
    zero = sum(curve.n_zero_gradient for curve in curves)
    text = "\n\n".join(
        [
            "# Agreement with published numbers",
            __doc__.partition("\n\n")[2].rpartition("\n\n")[0],
            f"Seeds 1 to {arguments.seeds}; network 784-64-64-10, Adam, learning rate 2e-4.",
            "## Test accuracy of the tutorial, batch 128 (three seeds)",
            table(["epochs", "dropout", *HEAD], rows),
            "## Lightning's notebook, batch 256, dropout 0.1 (one seed)",
            table(["what", *HEAD], lightning_rows),
            "## Accuracy under FGSM, five epochs, dropout 0.1, batch 128 (one network)",
            table(["epsilon", *HEAD], curve_rows),
            f"Images with a zero gradient, all networks together: {zero} of {len(curves) * len(data.test):,}.",
            "## The same networks, as the original tutorial computes it",
            "Mean and standard deviation over seeds. The original clips normalised images to [0, 1], takes epsilon in "
            f"normalised units (one is {MNIST_STD} pixel units) and divides by the images classified correctly before.",
            table(
                [
                    "epsilon",
                    "FGSM",
                    "FGSM, of those correct before",
                    "original, same pixel units",
                    "original, epsilon in its own units",
                ],
                old_rows,
            ),
            describe(["torch", "numpy"]),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")
    if arguments.page:
        summary = [
            [f"the original tutorial, {row[0]} epochs, dropout {row[1]}: test", *row[2:4], row[-1]] for row in rows
        ]
        summary += [[f"Lightning's notebook: {row[0]}", *row[1:3], row[-1]] for row in lightning_rows]
        head = ["accuracy", "published", f"ours, mean of {arguments.seeds} seeds", HEAD[-1]]
        replace_section(arguments.page, "accuracies", table(head, summary))


if __name__ == "__main__":
    main()
