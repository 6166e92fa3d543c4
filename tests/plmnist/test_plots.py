from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from plmnist.attacks import Examples, attack_fgsm
from plmnist.plots import draw_examples
from plmnist.registry import DATASETS
from plmnist.training import train

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def examples(digits, make_config) -> Examples:
    network = train(make_config(num_epochs=5), data=digits).network
    return attack_fgsm(network, digits.test, [0.0, 0.1]).examples


def pixels_of(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        return np.array(picture)


def test_figure_is_the_same_bytes_each_time(examples):
    first = draw_examples(examples, 1, 0.1, title="A", classes=DIGITS)
    assert first == draw_examples(examples, 1, 0.1, title="A", classes=DIGITS)
    assert first != draw_examples(examples, 1, 0.1, title="B", classes=DIGITS)
    with Image.open(io.BytesIO(first)) as picture:
        # No date, no version, no path.
        assert picture.info == {}


def test_figure_shows_original_perturbation_and_adversarial(examples):
    """Each row of pictures is found in the figure, pixel for pixel."""
    drawn = pixels_of(draw_examples(examples, 1, 0.1, title="", classes=DIGITS))[..., 1]
    original, adversarial = examples.original[:, 0].numpy(), examples.adversarial[1, :, 0].numpy()
    zoom = 112 // 8
    tops = []
    for images in (original, adversarial):
        expected = np.rint(255 * (1 - images[0])).astype(np.uint8).repeat(zoom, 0).repeat(zoom, 1)
        columns = drawn[:, 150 : 150 + 8 * zoom]
        windows = np.lib.stride_tricks.sliding_window_view(columns, expected.shape)[:, 0]
        (top,) = np.flatnonzero((windows == expected).all(axis=(1, 2)))
        tops.append(int(top))
    assert tops[0] < tops[1]
    middle = pixels_of(draw_examples(examples, 1, 0.1, title="", classes=DIGITS))
    perturbation = middle[tops[0] + 8 * zoom + 14 :, 150:][: 8 * zoom : zoom, : 8 * zoom : zoom].astype(int)
    change = adversarial[0] - original[0]
    redder = perturbation[..., 0] - perturbation[..., 2]
    assert np.array_equal(np.sign(redder), np.sign(np.where(np.abs(change) > 1e-6, change, 0)))


@pytest.mark.parametrize("outcome", ["nothing fooled", "all fooled", "all wrong before"])
def test_figure_is_drawn_whatever_happened(examples, outcome):
    clean = examples.label if outcome != "all wrong before" else (examples.label + 1) % 10
    after = examples.label if outcome == "nothing fooled" else (examples.label + 2) % 10
    forged = Examples(
        index=examples.index,
        label=examples.label,
        original=examples.original,
        clean_prediction=clean,
        adversarial=examples.adversarial,
        adversarial_prediction=torch.stack([after, after]),
    )
    assert pixels_of(draw_examples(forged, 0, 0.0, title="", classes=DIGITS)).shape[1] > 500


def test_figure_draws_long_class_names_and_few_classes(examples):
    few = Examples(
        index=examples.index[:2],
        label=examples.label[:2],
        original=examples.original[:2],
        clean_prediction=examples.clean_prediction[:2],
        adversarial=examples.adversarial[:, :2],
        adversarial_prediction=examples.adversarial_prediction[:, :2],
    )
    png = draw_examples(few, 1, 0.1, title="two", classes=DATASETS["fashion_mnist"].classes)
    assert pixels_of(png).shape[0] > 300
