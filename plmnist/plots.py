"""The figure of an attack: images before, what was added, images after.

One such picture is drawn for every point of a study, so it is put together from pixels: it takes a few milliseconds,
where a plotting library needs a tenth of a second and as long again to be imported.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.ImageDraw import ImageDraw

    from plmnist.attacks import Examples

__all__ = ["draw_examples"]

# Blue and red that remain apart for colour-blind eyes; each outcome is named in words as well.
_FOOLED, _HELD, _QUIET, _TEXT = (178, 24, 43), (33, 102, 172), (107, 107, 107), (20, 20, 20)
_CELL, _GAP, _LEFT, _MARGIN = 112, 14, 150, 24
_SIZE = {"title": 25, "text": 20, "class": 24, "small": 17}


def draw_examples(examples: Examples, which: int, epsilon: float, *, title: str, classes: Sequence[str]) -> bytes:
    """Return a PNG with one column per example and the rows original, perturbation, adversarial.

    Parameters
    ----------
    examples
        From :class:`plmnist.attacks.AttackResult`.
    which
        Position of the epsilon among those of the attack.
    epsilon
        Budget in pixel units; the colours of the middle row span -epsilon (blue) to epsilon (red).
    title
        First line of the figure.
    classes
        Names of the classes.

    Notes
    -----
    The bytes depend on the arguments and the version of Pillow only.
    """
    import numpy as np
    from PIL import Image, ImageDraw

    original = examples.original[:, 0].numpy()
    adversarial = examples.adversarial[which, :, 0].numpy()
    label = examples.label.tolist()
    before = examples.clean_prediction.tolist()
    after = examples.adversarial_prediction[which].tolist()
    k, height, width = original.shape
    zoom = max(1, _CELL // width)
    column, row = width * zoom + _GAP, height * zoom

    tops = [134, 134 + row + _GAP, 134 + 2 * row + _GAP + 62]
    size = (max(_LEFT + k * column + _MARGIN, 720), tops[2] + row + 46)
    canvas = np.full((size[1], size[0], 3), 255, np.uint8)
    for top, colours in zip(
        tops, (_grey(original), _diverging(adversarial - original, epsilon), _grey(adversarial)), strict=True
    ):
        for i, image in enumerate(colours):
            left = _LEFT + i * column
            canvas[top : top + row, left : left + width * zoom] = image.repeat(zoom, 0).repeat(zoom, 1)

    picture = Image.fromarray(canvas)
    draw = ImageDraw.Draw(picture)
    fooled = sum(b == y != a for y, b, a in zip(label, before, after, strict=True))
    correct = sum(b == y for y, b in zip(label, before, strict=True))
    _write(draw, (_LEFT, 20), title, "title", _TEXT, "lt")
    subtitle = f"The first test image of each class: {fooled} of {correct} correct answers changed."
    _write(draw, (_LEFT, 58), subtitle, "text", _QUIET, "lt")
    names = ("original", "perturbation", "adversarial")
    for name, top in zip(names, tops, strict=True):
        _write(draw, (_LEFT - 18, top + row / 2), name, "text", _TEXT, "rm")
    for line, scale in enumerate((f"red +{epsilon:g}", f"blue -{epsilon:g}"), start=1):
        _write(draw, (_LEFT - 18, tops[1] + row / 2 + 2 + 21 * line), scale, "small", _QUIET, "rm")
    for line in (tops[0] - 10, tops[2] - 10):
        _write(draw, (_LEFT - 18, line), "predicted", "small", _QUIET, "rs")
    for i in range(k):
        middle = _LEFT + i * column + width * zoom / 2
        colour = _TEXT if before[i] == label[i] else _QUIET
        _write(draw, (middle, tops[0] - 10), classes[before[i]], "class", colour, "ms", column)
        verdict, colour = _verdict(label[i], before[i], after[i])
        _write(draw, (middle, tops[2] - 10), classes[after[i]], "class", colour, "ms", column)
        _write(draw, (middle, tops[2] + row + 10), verdict, "small", colour, "mt", column)
    packed = io.BytesIO()
    picture.save(packed, "PNG")
    return packed.getvalue()


def _write(
    draw: ImageDraw,
    position: tuple[float, float],
    text: str,
    kind: str,
    colour: tuple[int, int, int],
    anchor: str,
    room: float | None = None,
) -> None:
    """Write a line of text, in smaller letters if it would be wider than `room`."""
    size = _SIZE[kind]
    font = _font(size)
    if room is not None and font.getlength(text) > room:
        font = _font(max(10, int(size * room / font.getlength(text))))
    draw.text(position, text, fill=colour, font=font, anchor=anchor)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _grey(images: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return pixels in [0, 1] as dark on light."""
    import numpy as np

    grey = np.rint(255 * (1 - images)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _diverging(change: npt.NDArray[np.float32], epsilon: float) -> npt.NDArray[np.uint8]:
    """Return -`epsilon` as blue, 0 as white and `epsilon` as red."""
    import numpy as np

    share = np.clip(change / epsilon, -1, 1)[..., None] if epsilon > 0 else np.zeros((*change.shape, 1))
    end = np.where(share > 0, np.array(_FOOLED, np.float64), np.array(_HELD, np.float64))
    colours: npt.NDArray[np.uint8] = np.rint(255 + (end - 255) * np.abs(share)).astype(np.uint8)
    return colours


def _verdict(label: int, before: int, after: int) -> tuple[str, tuple[int, int, int]]:
    if before != label:
        return "wrong before", _QUIET
    return ("fooled", _FOOLED) if after != label else ("held", _HELD)
