"""The figure of an attack: images before, what was added, images after.

Drawn with matplotlib's Figure object and Agg canvas, not pyplot: no global state, no display. One picture per row holds
all images of the row, because ten axes cost ten times as much as one.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plmnist.attacks import Examples

__all__ = ["draw_examples"]

_GAP = 0.12  # between neighbouring images, in widths of an image
_FOOLED, _HELD, _WRONG = "#b2182b", "#2166ac", "#6b6b6b"


def draw_examples(examples: Examples, which: int, epsilon: float, *, title: str, classes: tuple[str, ...]) -> bytes:
    """Return a PNG with one column per example and the rows original, perturbation, adversarial.

    Parameters
    ----------
    examples
        From :class:`plmnist.attacks.AttackResult`.
    which
        Position of the epsilon among those of the attack.
    epsilon
        Budget in pixel units; the grey scale of the middle row spans -epsilon to epsilon.
    title
        First line of the figure.
    classes
        Names of the classes.

    Notes
    -----
    The bytes depend on the arguments and the version of matplotlib only.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    original = examples.original[:, 0].numpy()
    adversarial = examples.adversarial[which, :, 0].numpy()
    label = examples.label.tolist()
    before = examples.clean_prediction.tolist()
    after = examples.adversarial_prediction[which].tolist()
    k = len(label)

    figure = Figure(figsize=(1.0 * k + 1.3, 4.6), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    left, right, row_height = 1.2 / (k + 1.3), 0.99, 0.205
    rows: list[tuple[str, Any, dict[str, Any]]] = [
        ("original", original, {"cmap": "gray_r", "vmin": 0, "vmax": 1}),
        (
            "perturbation",
            adversarial - original,
            # At epsilon 0 there is nothing to see, but a scale needs a width.
            {"cmap": "RdBu_r", "vmin": -max(epsilon, 1e-6), "vmax": max(epsilon, 1e-6)},
        ),
        ("adversarial", adversarial, {"cmap": "gray_r", "vmin": 0, "vmax": 1}),
    ]
    bottoms = (0.585, 0.355, 0.06)
    for (name, images, style), bottom in zip(rows, bottoms, strict=True):
        axes = figure.add_axes((left, bottom, right - left, row_height))
        axes.set_axis_off()
        axes.imshow(_tile(images), interpolation="nearest", aspect="auto", **style)
        figure.text(left - 0.012, bottom + row_height / 2, name, ha="right", va="center", fontsize=11)
    width = (right - left) / (k + (k - 1) * _GAP)
    for i in range(k):
        x = left + width * (i * (1 + _GAP) + 0.5)
        clean_colour = "black" if before[i] == label[i] else _WRONG
        figure.text(x, 0.8, _shown(classes[before[i]]), ha="center", va="bottom", fontsize=12, color=clean_colour)
        verdict, colour = _verdict(label[i], before[i], after[i])
        figure.text(
            x, 0.275, _shown(classes[after[i]]), ha="center", va="bottom", fontsize=12, color=colour, weight="bold"
        )
        figure.text(x, 0.045, verdict, ha="center", va="top", fontsize=8.5, color=colour)
    figure.text(left - 0.012, 0.8, "predicted", ha="right", va="bottom", fontsize=9, color=_WRONG)
    figure.text(left - 0.012, 0.275, "predicted", ha="right", va="bottom", fontsize=9, color=_WRONG)
    figure.text(left, 0.955, title, ha="left", va="top", fontsize=12, weight="bold")
    fooled = sum(b == y != a for y, b, a in zip(label, before, after, strict=True))
    correct = sum(b == y for y, b in zip(label, before, strict=True))
    subtitle = f"the first test image of each class: {fooled} of {correct} correct answers changed"
    figure.text(left, 0.9, subtitle, ha="left", va="top", fontsize=9.5, color="#333333")
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _tile(images: Any) -> Any:
    """Put images (k, H, W) side by side with transparent gaps, on a grid fine enough for the gap."""
    import numpy as np

    k, height, width = images.shape
    scale = max(1, round(56 / width))
    gap = round(_GAP * width * scale)
    tiled = np.full((height * scale, k * width * scale + (k - 1) * gap), np.nan)
    for i, image in enumerate(images):
        start = i * (width * scale + gap)
        tiled[:, start : start + width * scale] = np.kron(image, np.ones((scale, scale)))
    return np.ma.masked_invalid(tiled)


def _verdict(label: int, before: int, after: int) -> tuple[str, str]:
    if before != label:
        return "wrong before", _WRONG
    return ("fooled", _FOOLED) if after != label else ("held", _HELD)


def _shown(name: str) -> str:
    return name if len(name) <= 8 else name[:7] + "."
