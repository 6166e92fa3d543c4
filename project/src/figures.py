"""Figures: accuracy and FGSM accuracy against each parameter that varies, with the spread over seeds.

CHANGE HERE: ``PANELS`` names what is drawn.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from src.drawing import COLOURS, MARKERS, as_files, new_figure, style
from src.parameters import LABELS, in_words, sort_key, with_training_in_words

from plmnist.results import write_atomically
from plmnist.statistics import OverSeeds

PANELS = {"test_acc": "test accuracy", "fgsm_acc": "accuracy under FGSM"}
SHARE = "share of test images classified correctly"

Combination = Mapping[str, Any]
"""The parameters of a combination, and for each metric its values over seeds."""


def draw_figures(combinations: Sequence[Combination], folder: Path) -> list[Path]:
    """Draw one figure for each data set and parameter that varies in it, as PNG and SVG; return their paths."""
    folder.mkdir(exist_ok=True)
    drawn = []
    for dataset in sorted({row["dataset"] for row in combinations}):
        of_set = [with_training_in_words(row) for row in combinations if row["dataset"] == dataset]
        for parameter in varying(of_set):
            figure = _figure(dataset, parameter, of_set)
            if figure is None:
                continue
            for name, content in as_files(figure, f"{dataset}_accuracy_by_{parameter}").items():
                write_atomically(folder / name, content)
                drawn.append(folder / name)
    return drawn


def varying(rows: Sequence[Combination]) -> list[str]:
    """Return the parameters of which there is more than one value."""
    return [name for name in LABELS if len({row[name] for row in rows}) > 1]


def lines_along(parameter: str, rows: Sequence[Combination]) -> dict[tuple[Any, ...], list[Combination]]:
    """Divide rows into lines along which nothing but a parameter varies; a line of one point shows nothing."""
    others = [name for name in varying(rows) if name != parameter]
    lines: dict[tuple[Any, ...], list[Combination]] = {}
    for row in sorted(rows, key=lambda row: [sort_key(row[name]) for name in [*others, parameter]]):
        lines.setdefault(tuple(row[name] for name in others), []).append(row)
    return {key: line for key, line in lines.items() if len(line) > 1}


def standard_deviation(summary: OverSeeds) -> float:
    """Return the standard deviation over seeds as the length of a bar; a single seed has none, and gets no bar."""
    return math.nan if summary.sd is None else summary.sd


def draw_panel(
    axis: Axes,
    parameter: str,
    rows: Sequence[Combination],
    metric: str,
    *,
    spread: Callable[[OverSeeds], float] = standard_deviation,
) -> None:
    """Draw a metric against a parameter: the mean over seeds, bars for the spread, dots for single seeds."""
    lines = lines_along(parameter, rows)
    shown = [row for line in lines.values() for row in line]
    others = varying(shown)
    values = sorted({row[parameter] for row in shown}, key=sort_key)
    for number, line in enumerate(lines.values()):
        # Lines stand a little apart, so that their error bars can be told apart.
        shift = 0.16 * (number / (len(lines) - 1) - 0.5) if len(lines) > 1 else 0.0
        colour = COLOURS[number % len(COLOURS)]
        found: list[OverSeeds] = [row[metric] for row in line]
        places = [values.index(row[parameter]) + shift for row in line]
        axis.errorbar(
            places,
            [summary.mean for summary in found],
            yerr=[spread(summary) for summary in found],
            capsize=3,
            markersize=5,
            linewidth=1.6,
            marker=MARKERS[number % len(MARKERS)],
            color=colour,
            label=", ".join(in_words(name, line[0][name]) for name in others if name != parameter),
        )
        axis.scatter(
            [place for place, summary in zip(places, found, strict=True) for _ in summary.values],
            [value for summary in found for value in summary.values.values()],
            s=14,
            alpha=0.5,
            linewidths=0,
            color=colour,
        )
    axis.set_xticks(range(len(values)), [str(value).replace(", ", ",\n") for value in values])
    axis.set_xlim(-0.4, len(values) - 0.6)


def _figure(dataset: str, parameter: str, rows: Sequence[Combination]) -> Figure | None:
    lines = lines_along(parameter, rows)
    if not lines:
        return None
    figure = new_figure(8.4, 4.0)
    axes = figure.subplots(1, len(PANELS), sharey=True)
    for axis, (metric, title) in zip(axes, PANELS.items(), strict=True):
        draw_panel(axis, parameter, rows, metric)
        style(axis, LABELS[parameter], SHARE if axis is axes[0] else "", title=title)
    if len(lines) > 1:
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=8, frameon=False)
    epsilons = sorted({row["fgsm_epsilon"] for row in rows})
    budget = f", epsilon {epsilons[0]}" if len(epsilons) == 1 else ""
    figure.suptitle(f"{dataset}{budget}: mean and standard deviation over seeds; dots are single seeds", fontsize=9)
    return figure
