"""Figures: accuracy and FGSM accuracy against each parameter that varies, with the spread over seeds.

CHANGE HERE: ``PANELS`` names what is drawn. The bytes of a figure depend on the results alone.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plmnist.results import write_atomically

PANELS = {"test_acc": "test accuracy", "fgsm_acc": "accuracy under FGSM"}
LABELS = {
    "num_epochs": "epochs",
    "batch_size": "batch size",
    "hidden_size": "hidden units per layer",
    "learning_rate": "learning rate",
    "dropout_prob": "dropout probability",
    "fgsm_epsilon": "epsilon (pixel units)",
    "network": "network",
    "training": "training",
    "training_epsilon": "epsilon in training (pixel units)",
}
# Okabe and Ito's colours: told apart also by colour-blind readers; the markers differ too.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000", "#F0E442"]
MARKERS = "os^Dv<>P"


def draw_figures(jobs: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Draw one figure for each data set and parameter that varies in it; return their paths."""
    folder.mkdir(exist_ok=True)
    drawn = []
    for dataset in sorted({row["dataset"] for row in rows}):
        of_set = [row for row in rows if row["dataset"] == dataset]
        seeds = [job for job in jobs if job["dataset"] == dataset]
        varying = [name for name in LABELS if len({row.get(name) for row in of_set}) > 1]
        for parameter in varying:
            path = folder / f"{dataset}_accuracy_by_{parameter}.png"
            write_atomically(path, _figure(dataset, parameter, [v for v in varying if v != parameter], of_set, seeds))
            drawn.append(path)
    return drawn


def _figure(
    dataset: str, parameter: str, others: list[str], rows: list[dict[str, Any]], jobs: list[dict[str, Any]]
) -> bytes:
    values = sorted({row[parameter] for row in rows})
    lines = sorted({tuple(row[name] for name in others) for row in rows})
    figure = Figure(figsize=(8.4, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        for number, line in enumerate(lines):
            # Lines stand a little apart, so that their error bars can be told apart.
            shift = 0.16 * (number / max(1, len(lines) - 1) - 0.5) if len(lines) > 1 else 0.0
            style = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
            members = [row for row in rows if tuple(row[name] for name in others) == line]
            members.sort(key=lambda row: row[parameter])
            places = [values.index(row[parameter]) + shift for row in members]
            axis.errorbar(
                places,
                [row[f"{metric}_avg"] for row in members],
                yerr=[row[f"{metric}_std"] or 0.0 for row in members],
                capsize=3,
                markersize=5,
                linewidth=1.4,
                label=", ".join(f"{LABELS[n]} {v}" for n, v in zip(others, line, strict=True)) or dataset,
                **style,
            )
            points = [job for job in jobs if tuple(job[name] for name in others) == line]
            axis.scatter(
                [values.index(job[parameter]) + shift for job in points],
                [job[metric] for job in points],
                s=9,
                alpha=0.45,
                linewidths=0,
                color=style["color"],
            )
        axis.set_xticks(range(len(values)), [str(value) for value in values])
        axis.set_xlim(-0.4, len(values) - 0.6)
        axis.set_xlabel(LABELS[parameter])
        axis.set_title(title, fontsize=10)
        axis.grid(axis="y", alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of test images classified correctly", fontsize=9)
    if len(lines) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    epsilons = sorted({row["fgsm_epsilon"] for row in rows})
    budget = f", epsilon {epsilons[0]}" if len(epsilons) == 1 else ""
    figure.suptitle(f"{dataset}{budget}: mean and standard deviation over seeds; dots are single seeds", fontsize=9)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=150, metadata={"Software": None})
    return content.getvalue()
