"""The figures of the report, each small enough to be read on a phone.

Bands and bars are 95 % t intervals over seeds; with one seed, or seeds of one value, there is none.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from src.drawing import COLOURS, INK, MARKERS, QUIET, new_figure, style
from src.figures import draw_panel, lines_along
from src.parameters import ATTACKS, LABELS, in_words
from src.report.answer import describe_effect
from src.report.effects import Effect, compared, values_of, varying, with_value
from src.report.facts import CHANCE, DataSetResults, Network

from plmnist.statistics import OverSeeds, over_seeds

PANEL, WIDE = (4.4, 3.2), (4.8, 3.8)
EPSILON = "epsilon (pixel units, black 0 to white 1)"

_DASHES = {"fgsm": "--", "pgd": "-", "noise": ":", "worst": "-."}
_ATTACK_COLOURS = {"fgsm": COLOURS[0], "pgd": COLOURS[1], "noise": QUIET, "worst": COLOURS[2]}


def main_figure(results: DataSetResults, effect: Effect | None) -> Figure:
    """Accuracy under the strongest attack against epsilon, a line for each value of the parameter that matters."""
    figure = new_figure(*WIDE)
    axis = figure.subplots()
    attack = results.strongest
    if effect is None:
        networks = next(iter(results.settings().values()))
        lines = {ATTACKS[attack]: networks}
        first = networks
    else:
        lines = {
            in_words(effect.parameter, value): with_value(results, effect, value)
            for value in _shown_values(results, effect)
        }
        first = next(iter(lines.values()))
    for number, (label, networks) in enumerate(lines.items()):
        _curve(axis, networks, attack, results.epsilon, COLOURS[number % len(COLOURS)], label, marker=MARKERS[number])
    _curve(axis, first, "noise", results.epsilon, QUIET, f"control: {ATTACKS['noise']}", dashes=":")
    _frame(axis, results)
    _legend_above(figure, axis, columns=2)
    style(axis, EPSILON, f"accuracy under {ATTACKS[attack]}")
    return figure


def curve_panels(results: DataSetResults, most: int) -> list[tuple[str, Figure]]:
    """Return, for the first settings, accuracy against epsilon under every attack there is."""
    names = varying(results.attacked)
    panels = []
    for networks in list(results.settings().values())[:most]:
        figure = new_figure(*PANEL)
        axis = figure.subplots()
        for attack in ("noise", "fgsm", "pgd", "worst"):
            colour = _ATTACK_COLOURS[attack]
            _curve(axis, networks, attack, results.epsilon, colour, ATTACKS[attack], dashes=_DASHES[attack])
        _frame(axis, results)
        _legend_above(figure, axis, columns=3)
        style(axis, EPSILON, "accuracy")
        panels.append((_phrase(networks[0], names), figure))
    return panels


def success_figure(results: DataSetResults, effect: Effect | None) -> Figure:
    """Share of the images classified correctly before that each attack turns, for the two values that are compared."""
    figure = new_figure(*WIDE)
    axis = figure.subplots()
    networks_of = compared(results, effect)
    for number, (label, networks) in enumerate(networks_of.items()):
        colour = COLOURS[number]
        for attack in ("noise", "fgsm", "pgd"):
            _curve(
                axis, networks, attack, results.epsilon, colour, "", dashes=_DASHES[attack], value_of=Network.success
            )
        if label:
            axis.plot([], [], color=colour, linewidth=1.8, label=label)
    for attack in ("pgd", "fgsm", "noise"):
        if any(attack in network.curves for networks in networks_of.values() for network in networks):
            axis.plot([], [], color=INK, linestyle=_DASHES[attack], linewidth=1.4, label=ATTACKS[attack])
    axis.axvline(results.epsilon, color=QUIET, linewidth=0.9)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlim(left=0)
    _legend_above(figure, axis, columns=2)
    style(axis, EPSILON, "share of images turned")
    return figure


def trade_off(results: DataSetResults) -> Figure:
    """Accuracy under the strongest attack against that of the same images without; small dots are single networks."""
    figure = new_figure(*WIDE)
    axis = figure.subplots()
    attack, both = results.strongest, (Network.clean_beside, Network.accuracy)
    trainings = values_of("training", results.attacked)
    for number, training in enumerate(trainings):
        groups = [g for g in results.settings().values() if g[0].parameters["training"] == training]
        means = [[_mean(g, of, attack, results.epsilon) for of in both] for g in groups]
        singles = [[of(n, attack, results.epsilon) for of in both] for g in groups for n in g]
        style_of = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axis.scatter(*zip(*singles, strict=True), s=20, alpha=0.5, linewidths=0, **style_of)
        label = in_words("training", training)
        axis.scatter(*zip(*means, strict=True), s=52, edgecolors="white", linewidths=0.8, label=label, **style_of)
    axis.autoscale(False)
    axis.axline((0.5, 0.5), slope=1, color=QUIET, linewidth=0.9, linestyle=":")
    axis.legend(loc="best", fontsize=9, frameon=False, labelcolor=INK)
    style(axis, "accuracy without attack", f"accuracy under {ATTACKS[attack]} at epsilon {results.epsilon:g}")
    return figure


def effect_figure(results: DataSetResults, found: Sequence[Effect]) -> Figure:
    """The effects of all parameters, with their intervals, in percentage points."""
    figure = new_figure(WIDE[0], 1.3 + 0.52 * len(found))
    axis = figure.subplots()
    under = f"under {ATTACKS[results.strongest]} at epsilon {results.epsilon:g}"
    for number, (label, of) in enumerate((("without attack", lambda e: e.clean), (under, lambda e: e.robust))):
        for row, effect in enumerate(found):
            difference: OverSeeds = of(effect)
            axis.errorbar(
                100 * difference.mean,
                row + (0.15 if number else -0.15),
                xerr=100 * _half_width(difference),
                fmt=MARKERS[number],
                color=COLOURS[number],
                capsize=3,
                markersize=6,
                linewidth=1.6,
                label=label if row == 0 else None,
            )
    axis.axvline(0, color=INK, linewidth=0.9)
    axis.set_yticks(range(len(found)), [describe_effect(effect).replace(" to ", "\nto ", 1) for effect in found])
    axis.set_ylim(len(found) - 0.5, -0.5)
    style(axis, "difference of the accuracy (percentage points)", "")
    axis.grid(False, axis="y")
    axis.tick_params(axis="y", labelcolor=INK, labelsize=8.5)
    _legend_above(figure, axis, columns=2)
    return figure


def parameter_panels(results: DataSetResults) -> list[tuple[str, str, Figure]]:
    """Return panels of the accuracy without and with attack against each parameter that varies."""
    rows = []
    for networks in results.settings().values():
        rows.append(
            {**networks[0].parameters, "fgsm_epsilon": results.epsilon}
            | {
                a: over_seeds({n.seed: _accuracy(n, a, results.epsilon) for n in networks})
                for a in ("none", results.strongest)
            }
        )
    panels = []
    for parameter in varying(results.attacked):
        if not lines_along(parameter, rows):
            continue
        for attack in ("none", results.strongest):
            figure = new_figure(*PANEL)
            axis = figure.subplots()
            draw_panel(axis, parameter, rows, attack, spread=_half_width)
            title = ATTACKS[attack] if attack == "none" else f"{ATTACKS[attack]} at epsilon {results.epsilon:g}"
            style(axis, LABELS[parameter], "accuracy", title=title)
            if any(label for label in axis.get_legend_handles_labels()[1]):
                _legend_above(figure, axis, columns=2)
            panels.append((parameter, attack, figure))
    return panels


def learning_panels(results: DataSetResults, most: int) -> list[tuple[str, Figure]]:
    """Return the course of the longest training of the first settings: accuracy and loss in each epoch."""
    names = [name for name in varying(results.networks) if name != "num_epochs"]
    groups: dict[tuple[Any, ...], list[Network]] = {}
    for network in results.networks:
        key = tuple(value for name, value in network.parameters.items() if name != "num_epochs")
        groups.setdefault(key, []).append(network)
    panels = []
    for members in list(groups.values())[:most]:
        longest = max(network.parameters["num_epochs"] for network in members)
        histories = {n.seed: n.history() for n in members if n.parameters["num_epochs"] == longest}
        histories = {seed: rows for seed, rows in histories.items() if rows}
        if not histories:
            continue
        figure = new_figure(PANEL[0], 4.2)
        top, bottom = figure.subplots(2, 1, sharex=True)
        for axis, quantity, label in ((top, "acc", "accuracy"), (bottom, "loss", "loss (nats)")):
            for number, (part, name) in enumerate((("val", "validation"), ("train", "training"))):
                epochs = list(range(1, longest + 1))
                points = [
                    over_seeds({seed: rows[i][f"{part}_{quantity}"] for seed, rows in histories.items()})
                    for i in range(len(epochs))
                ]
                _band(axis, epochs, points, COLOURS[number], name, dashes="-" if part == "val" else "--")
            style(axis, "epoch" if axis is bottom else "", label)
        top.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=INK)
        top.set_ylim(top=min(1.02, top.get_ylim()[1]))
        bottom.set_ylim(bottom=0)
        bottom.xaxis.get_major_locator().set_params(integer=True)
        panels.append((_phrase(members[0], names), figure))
    return panels


def _legend_above(figure: Figure, axis: Axes, *, columns: int) -> None:
    """Name the lines above the axes, where they hide nothing, in as many of the columns as there is room for."""
    handles, labels = axis.get_legend_handles_labels()
    style_of = {"fontsize": 9, "frameon": False, "labelcolor": INK, "columnspacing": 1.4, "handlelength": 2.0}
    for number in range(columns, 0, -1):
        legend = figure.legend(handles, labels, loc="outside upper left", ncols=number, **style_of)
        if number == 1 or legend.get_window_extent().width <= figure.bbox.width:
            return
        legend.remove()


def _shown_values(results: DataSetResults, effect: Effect) -> list[Any]:
    """Return the value an effect starts from, the one it ends at, and two others at most."""
    all_values = [
        value for value in values_of(effect.parameter, results.attacked) if with_value(results, effect, value)
    ]
    kept = {effect.before, effect.after, *all_values[:4]}
    return [value for value in all_values if value in kept][:5]


def _curve(
    axis: Axes,
    networks: Sequence[Network],
    attack: str,
    epsilon: float,
    colour: str,
    label: str,
    *,
    dashes: str = "-",
    marker: str = "",
    value_of: Callable[[Network, str, float], float | None] = Network.accuracy,
) -> None:
    """Draw accuracy, or another share, against epsilon, at those epsilons that all the networks have met."""
    budgets = sorted(set.intersection(*(set(network.curves.get(attack, {})) for network in networks)))
    # A network that was right about no image has no success rate.
    networks = [n for n in networks if budgets and value_of(n, attack, budgets[0]) is not None]
    if not networks:
        return
    points = [_summary(networks, lambda n, e=budget: value_of(n, attack, e)) for budget in budgets]
    if attack != "noise" and any(summary.n > 1 for summary in points):
        for seed in points[0].values:
            single = [summary.values[seed] for summary in points]
            axis.plot(budgets, single, color=colour, linewidth=0.6, alpha=0.35, linestyle=dashes)
    _band(axis, budgets, points, colour, label, dashes=dashes, marker=marker)


def _band(
    axis: Axes,
    x: Sequence[float],
    points: Sequence[OverSeeds],
    colour: str,
    label: str,
    *,
    dashes: str = "-",
    marker: str = "",
) -> None:
    means = [summary.mean for summary in points]
    axis.plot(
        x, means, color=colour, linestyle=dashes, marker=marker or None, markersize=4.5, linewidth=1.8, label=label
    )
    axis.fill_between(
        x,
        [mean - _half_width(summary) for mean, summary in zip(means, points, strict=True)],
        [mean + _half_width(summary) for mean, summary in zip(means, points, strict=True)],
        color=colour,
        alpha=0.18,
        linewidth=0,
    )


def _frame(axis: Axes, results: DataSetResults) -> None:
    """Mark the epsilon of the study and what guessing gives; accuracies lie between 0 and 1."""
    axis.axvline(results.epsilon, color=QUIET, linewidth=0.9)
    axis.axhline(CHANCE, color=QUIET, linewidth=0.9, linestyle=(0, (1, 2)))
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlim(left=0)
    right = axis.get_xlim()[1]
    axis.text(right, CHANCE + 0.012, "chance", fontsize=8.5, color=QUIET, ha="right", va="bottom")
    side, away = ("left", 1) if results.epsilon < right / 2 else ("right", -1)
    x = results.epsilon + away * right * 0.012
    axis.text(x, 1.005, "the study's epsilon", fontsize=8.5, color=QUIET, ha=side, va="top")


def _summary(networks: Iterable[Network], value_of: Callable[[Network], float | None]) -> OverSeeds:
    """Average over the settings of each seed, then over seeds; values that are not there are left out."""
    by_seed: dict[int, list[float]] = {}
    for network in networks:
        value = value_of(network)
        if value is not None:
            by_seed.setdefault(network.seed, []).append(value)
    return over_seeds({seed: sum(values) / len(values) for seed, values in by_seed.items()})


def _mean(
    networks: Iterable[Network], value_of: Callable[[Network, str, float], float | None], attack: str, epsilon: float
) -> float:
    return _summary(networks, lambda network: value_of(network, attack, epsilon)).mean


def _accuracy(network: Network, attack: str, epsilon: float) -> float:
    return network.accuracy(attack, epsilon) or 0.0


def _half_width(summary: OverSeeds) -> float:
    return summary.interval.half_width if summary.interval else math.nan


def _phrase(network: Network, names: Sequence[str]) -> str:
    phrase = ", ".join(in_words(name, network.parameters[name]) for name in names)
    return phrase[:1].upper() + phrase[1:] or "The only setting"
