"""Time of many networks on MNIST: the stacked engine against one network after the other, in one run.

Networks of the tutorial's study: batches of 128, 784-64-64-10, learning rate 2e-4, dropout 0, 0.1 and 0.5, a seed for
every three. Timed from the loaded data set to the last network trained, validated after each epoch and tested, in
memory; the engines take turns, so that a slow minute of a shared machine hits both alike. Ranges and medians over
rounds, on the clock and of the processor. The engine one network after the other is the default one, on one core. How
near both are is shown for the same networks.

Writing is timed apart: the folders of a thousand networks, three result files and the provenance for each, one after
the other, as with the other engines, and by the threads that the stacked engine has.

On a GPU, where the record should be made anew (add --networks 18 1000 if the memory holds them):

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_stacked.py --device cuda --record FILE

The expectation at the end is arithmetic, not a measurement.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from setting import describe, table

from plmnist import results
from plmnist.batch.writers import THREADS, Writers
from plmnist.config import STACKED, Configuration
from plmnist.device import choose_device, device_name
from plmnist.epochs import EpochRow
from plmnist.evaluation import Metrics
from plmnist.model import Classifier
from plmnist.provenance import Recorder
from plmnist.stacked_engine import stack_limit, train_stack
from plmnist.streams import pack_mask, permutation, stream
from plmnist.training import Trained, TrainingData, prepare_data, train

BATCH, HIDDEN, RATE = 128, 64, 2e-4
TARGET_NETWORKS, TARGET_EPOCHS, TARGET_S = 1000, 5, 15
H200_FLOPS, H200_BYTES_S, PCIE_BYTES_S, HOST_CORES = 67e12, 4.8e12, 50e9, 16
"""Single precision without tensor cores, and memory, as the data sheet of the H200 says; PCIe 5 as usually reached."""


Seconds = tuple[float, float]
"""On the clock, and of the processor on all threads."""


def study(n: int, epochs: int) -> list[Configuration]:
    return [
        Configuration(
            dataset="mnist",
            num_epochs=epochs,
            batch_size=BATCH,
            hidden_size=HIDDEN,
            learning_rate=RATE,
            dropout_prob=(0.0, 0.1, 0.5)[i % 3],
            fgsm_epsilon=0.05,
            seed=1 + i // 3,
        )
        for i in range(n)
    ]


def stacked(configs: list[Configuration], data: TrainingData, device: str) -> tuple[Seconds, dict[int, Trained]]:
    done: dict[int, Trained] = {}
    failed: dict[int, Exception] = {}
    data = TrainingData(data.train, data.test)  # splits are part of the time
    limit = stack_limit(configs[0], data, device)
    began = time.perf_counter(), time.process_time()
    for start in range(0, len(configs), limit):
        stack = configs[start : start + limit]

        def on_trained(position: int, trained: Trained, start: int = start) -> None:
            done[start + position] = trained

        train_stack([[config] for config in stack], on_trained, failed.__setitem__, data=data, device=device)
    assert not failed
    return (time.perf_counter() - began[0], time.process_time() - began[1]), done


def alone(configs: list[Configuration], data: TrainingData, device: str) -> tuple[Seconds, dict[int, Trained]]:
    data = TrainingData(data.train, data.test)
    began = time.perf_counter(), time.process_time()
    done = {position: train(config, data=data, device=device) for position, config in enumerate(configs)}
    return (time.perf_counter() - began[0], time.process_time() - began[1]), done


def differences(first: dict[int, Trained], second: dict[int, Trained]) -> list[list[str]]:
    weights, losses, counts = [], [], []
    for position, one in first.items():
        other = second[position]
        pairs = zip(one.network.parameters(), other.network.parameters(), strict=True)
        weights.append(max(float((a.detach() - b.detach()).abs().max()) for a, b in pairs))
        losses.append(abs(one.test.loss - other.test.loss))
        counts.append(abs(one.test.correct - other.test.correct))
    return [
        ["largest difference of two weights", f"{statistics.median(weights):.1e}", f"{max(weights):.1e}"],
        ["difference of the test losses", f"{statistics.median(losses):.1e}", f"{max(losses):.1e}"],
        ["difference of the correct test images of 10,000", f"{statistics.median(counts):g}", f"{max(counts)}"],
    ]


def _row(times: list[Seconds], n: int) -> list[str]:
    cells = []
    for measured in zip(*times, strict=True):
        cells += [f"{min(measured):.2f} - {max(measured):.2f}", f"{statistics.median(measured) / n:.4f}"]
    return cells


def writing(n: int, network: Classifier) -> list[list[str]]:
    """Time the writing of n folders with results of a network's size, in two ways, each into new folders."""
    rows = []
    for way in ("one after the other", f"by {THREADS} threads"):
        with tempfile.TemporaryDirectory(dir=".") as root:
            configs = study(n, 1)
            folders = [Path(root, f"{i:06d}") for i in range(n)]
            for folder in folders:
                folder.mkdir()
            recorder = Recorder("train", _Silent(), engine=STACKED)
            metrics = Metrics(n=1, correct=1, loss=0.0)
            history = (EpochRow(1, metrics, metrics),)
            began = time.perf_counter(), time.process_time()
            with Writers() as writers:
                for folder, config in zip(folders, configs, strict=True):
                    trained = Trained(config, network, history, metrics, metrics, engine=STACKED)
                    write = functools.partial(_write, folder, trained, recorder)
                    write() if way == "one after the other" else writers.add(write)
            wall_s, cpu_s = time.perf_counter() - began[0], time.process_time() - began[1]
        rows.append([way, f"{n:,}", f"{wall_s:.1f}", f"{cpu_s:.1f}"])
    return rows


def _write(folder: Path, trained: Trained, recorder: Recorder) -> None:
    name = str(folder)
    recorder.started(name)
    results.save_training(folder, results.TrainFiles.of(trained), write=recorder.writer(name, "trained"))
    recorder.done(name, "trained")


class _Silent:
    def started(self, folder: str) -> None:
        pass

    def done(self, folder: str, summary: str) -> None:
        pass

    def failed(self, folder: str, error: Exception) -> None:
        raise error


def drawing_s(data: TrainingData) -> tuple[float, float]:
    """Return the seconds of one core to draw an epoch's masks, packed, and its order, for one network."""
    n = len(data.split(1).train_rows)
    masks, orders = [], []
    for epoch in range(1, 16):
        began = time.thread_time()
        source = stream(1, "dropout", epoch=epoch)
        np.stack([pack_mask(source, 0.1, (n, HIDDEN)) for _ in range(2)])
        between = time.thread_time()
        permutation(stream(1, "order", epoch=epoch), n)
        masks.append(between - began)
        orders.append(time.thread_time() - between)
    return statistics.median(masks), statistics.median(orders)


def expectation(mask_s: float, order_s: float) -> str:
    """Work out the target on an H200: operations, bytes, and the time that the data sheet allows for them."""
    k, n, pixels = TARGET_NETWORKS, 55_000, 784
    parameters = (pixels + 1) * HIDDEN + (HIDDEN + 1) * HIDDEN + (HIDDEN + 1) * 10
    products = pixels * HIDDEN + HIDDEN * HIDDEN + HIDDEN * 10
    epochs, steps = k * TARGET_EPOCHS, TARGET_EPOCHS * -(-n // BATCH)
    flop = 2 * (3 * products - pixels * HIDDEN) * n * epochs  # forward; both gradients, but none of the pixels
    batch, weights = 4 * k * BATCH * pixels, 4 * k * parameters
    traffic = {
        "gather and normalise a batch: 3 passes that read and write": 6 * batch,
        "read it for the first layer's product and for its gradient": 2 * batch,
        "hidden layers, masks, logits: about 30 passes": 30 * 4 * k * BATCH * HIDDEN,
        "weights and gradients in the products: read twice, written once": 3 * weights,
        "Adam: reads weight, gradient and two moments, writes three": 7 * weights,
    }
    total = sum(traffic.values()) * steps
    compute_s, memory_s = flop / H200_FLOPS, total / H200_BYTES_S
    elements = epochs * n * 2 * HIDDEN
    draw_s = (mask_s + order_s) * epochs
    rows = [["products", f"{flop / 1e12:.0f} TFLOP", f"{compute_s:.1f} s at peak, {2 * compute_s:.1f} s at half of it"]]
    rows += [[what, f"{b * steps / 1e12:.2f} TB", f"{b * steps / H200_BYTES_S:.2f} s"] for what, b in traffic.items()]
    rows += [
        ["traffic in all", f"{total / 1e12:.1f} TB", f"{memory_s:.1f} s at peak, {memory_s / 0.7:.1f} s at 70 % of it"],
        _transfer("masks to the device, one bit an element", elements / 8),
        _transfer("(the same as float32)", elements * 4),
        _transfer("(the same as the 16 random bits they are drawn from)", elements * 2),
        ["drawing masks and orders", f"{draw_s:.0f} s of a core", f"{draw_s / HOST_CORES:.1f} s on {HOST_CORES} cores"],
    ]
    return EXPECTATION.format(
        networks=f"{k:,}",
        epochs=TARGET_EPOCHS,
        target=TARGET_S,
        steps=f"{steps:,}",
        table=table(["what", "how much", "how long"], rows),
        device=f"{2 * compute_s + memory_s / 0.7:.0f}",
    )


def _transfer(what: str, n_bytes: float) -> list[str]:
    return [what, f"{n_bytes / 1e9:.1f} GB", f"{n_bytes / PCIE_BYTES_S:.2f} s"]


EXPECTATION = """## What to expect of a GPU: arithmetic, not measured

{networks} networks of {epochs} epochs on one H200, all with dropout, against a target of {target} s. 67 TFLOP/s in
single precision without TF32, 4.8 TB/s of memory, 50 GB/s to the device. {steps} steps, each one launch of a recorded
graph.

{table}

In sequence, at half and at 70 % of the peaks, products and traffic take {device} s. Drawing goes on meanwhile, one
epoch ahead, on other cores. On top come, for each network, its split (shared out over the cores), initial weights and
copies, 1 to 3 ms; for each epoch of each, taking notice, 0.3 ms; together 3 to 5 s in one thread. Importing torch,
opening the device and recording the step take about 3 s more. So the target is within reach, in memory, if batched
products of this shape reach half of the peak. Writing the results, at the end if all networks have equally many epochs,
takes what the table above says.

Masks are drawn on the processor and moved as bits because the streams are SFC64, which only runs forwards: no device
can start in the middle of one. A counter-based generator (Philox) on the device would save the cores, but it would be
another stream and change the results of every study; at these sizes nothing is gained by it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", type=int, nargs="+", default=[18])
    parser.add_argument("--epochs", type=int, default=None, help="default: 1 on the processor, 5 on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folders", type=int, default=TARGET_NETWORKS, help="how many to write results into")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    torch.set_num_threads(1)
    epochs = arguments.epochs or (1 if device.type == "cpu" else TARGET_EPOCHS)
    data = prepare_data("mnist")
    if device.type == "cuda":
        stacked(study(3, 1), data, device.type)  # opens the device
    rows, near = [], []
    for n in arguments.networks:
        configs = study(n, epochs)
        peers = configs[: min(n, 18)]  # more of them would only take longer
        mine: list[Seconds] = []
        theirs: list[Seconds] = []
        for _ in range(arguments.rounds):
            seconds, done = stacked(configs, data, device.type)
            mine.append(seconds)
            seconds, reference = alone(peers, data, "cpu")
            theirs.append(seconds)
        rows.append([f"stacked, {device_name(device)}", f"{n}", *_row(mine, n * epochs)])
        rows.append(["one after the other, cpu", f"{len(peers)}", *_row(theirs, len(peers) * epochs)])
        near += [[f"{n}", *row] for row in differences({i: done[i] for i in range(len(peers))}, reference)]
    mask_s, order_s = drawing_s(data)
    about = __doc__.partition("\n\n")[2].partition("\n\n")[0]
    text = "\n\n".join(
        [
            "# Many networks at once",
            about,
            f"{epochs} epoch{'s' if epochs > 1 else ''}, {arguments.rounds} rounds.",
            table(
                ["who", "networks", "s", "median per network and epoch", "CPU s", "median per network and epoch"], rows
            ),
            "The same networks both ways, 18 of them at most:",
            table(["networks", "what", "median", "largest"], near),
            "Writing the results:",
            table(["how", "folders", "s", "CPU s"], writing(arguments.folders, reference[0].network)),
            f"Drawing one epoch of one network on one core: masks {mask_s * 1e3:.1f} ms, order {order_s * 1e3:.1f} ms.",
            describe(["torch", "numpy"]),
            expectation(mask_s, order_s),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")


if __name__ == "__main__":
    main()
