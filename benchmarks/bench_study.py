"""Time of the tutorial's default study on real MNIST, from an empty workspace to the table and figures.

The study: 18 points, the tutorial's five parts, two processes, every import included. Its peer in the same run is what
one would write by hand for the training alone: two processes with a plain PyTorch loop each, which share the same 54
epochs and measure, attack and save nothing. The original tutorial took 1177 s on such a machine. Beside it the time of
``status`` in the finished study.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_study.py [--runs 3] [--record FILE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from setting import describe, table

ROOT = Path(__file__).resolve().parent.parent
MADE_BY_A_RUN = shutil.ignore_patterns(
    "workspace", "data", ".signac", ".pointillist", "output*", "figures", "__pycache__", ".lock"
)
# Not the control attacks and the report, which the original does not have.
FIVE_PARTS = ["part_1_.*", "part_2_.*", "part_3_.*", "part_4_fgsm_.*", "part_5_.*"]
ORIGINAL_S = 1177
EPOCHS = 54

BY_HAND = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from bench_training import plain_epochs
from plmnist.training import prepare_data
plain_epochs(prepare_data("mnist"), 0.1, int(sys.argv[2]))
"""


def timed(*commands: list[str], cwd: Path) -> float:
    """Return how long it takes until several commands, started at once, have all ended."""
    began = time.perf_counter()
    processes = [
        subprocess.Popen(command, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands
    ]
    codes = [process.wait() for process in processes]
    assert not any(codes), f"exit codes {codes}"
    return time.perf_counter() - began


def study(folder: Path) -> tuple[float, Path]:
    """Run the study in an empty copy; return how long it took, and where it is."""
    copy = folder / f"study-{time.monotonic_ns()}"
    shutil.copytree(ROOT / "project", copy, ignore=MADE_BY_A_RUN)
    subprocess.run([sys.executable, "init.py", "--dataset", "mnist"], cwd=copy, check=True, stdout=subprocess.DEVNULL)
    command = [sys.executable, "project.py", "run", "--parallel", "2", "-o", *FIVE_PARTS]
    return timed(command, cwd=copy), copy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    if "PLMNIST_DATA_DIR" not in os.environ:
        parser.error("PLMNIST_DATA_DIR must name a folder with the files of MNIST")
    by_hand, studies, statuses = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(arguments.runs):
            process = [sys.executable, "-c", BY_HAND, str(ROOT / "benchmarks"), str(EPOCHS // 2)]
            by_hand.append(timed(process, process, cwd=folder))
            seconds, copy = study(folder)
            studies.append(seconds)
            statuses += [timed([sys.executable, "project.py", "status"], cwd=copy) for _ in range(5)]
    median = statistics.median(studies)
    rows = [
        ["the whole study", *_spread(studies), "1"],
        ["training alone, plain loop", *_spread(by_hand), f"{statistics.median(by_hand) / median:.2f}"],
        ["the original tutorial, as recorded", f"{ORIGINAL_S}", "", f"{ORIGINAL_S / median:.0f}"],
        ["`status` of the finished study", *_spread(statuses), ""],
    ]
    text = (
        "# The tutorial's study on MNIST: 18 points, five parts, two processes\n\n"
        + table(["what", "median s", "min to max", "times the study"], rows)
        + "\n\n"
        + describe(["torch", "numpy", "matplotlib", "signac"])
        + "\n"
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text)


def _spread(seconds: list[float]) -> tuple[str, str]:
    return f"{statistics.median(seconds):.2f}", f"{min(seconds):.2f} to {max(seconds):.2f}"


if __name__ == "__main__":
    main()
