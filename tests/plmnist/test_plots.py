from __future__ import annotations

import io

import pytest
import torch

from plmnist.attacks import Examples, attack_fgsm
from plmnist.plots import draw_examples
from plmnist.registry import DATASETS
from plmnist.training import train

DIGITS = tuple("0123456789")


@pytest.fixture(scope="module")
def examples(digits, make_config) -> Examples:
    network = train(make_config(num_epochs=5), data=digits).network
    return attack_fgsm(network, digits.test, [0.0, 0.1]).examples


def pixels_of(png: bytes):
    from matplotlib.image import imread

    return imread(io.BytesIO(png))


def test_figure_is_the_same_bytes_each_time(examples):
    first = draw_examples(examples, 1, 0.1, title="A", classes=DIGITS)
    assert first == draw_examples(examples, 1, 0.1, title="A", classes=DIGITS)
    assert first[:8] == b"\x89PNG\r\n\x1a\n"
    assert first != draw_examples(examples, 1, 0.1, title="B", classes=DIGITS)
    # No date, no version, no path.
    assert b"tEXt" not in first.replace(b"tEXtdpi", b"")


def test_figure_shows_original_perturbation_and_adversarial(examples):
    drawn = pixels_of(draw_examples(examples, 1, 0.1, title="", classes=DIGITS))
    nothing = pixels_of(draw_examples(examples, 0, 0.0, title="", classes=DIGITS))
    height = drawn.shape[0]
    rows = {"original": (0.21, 0.415), "perturbation": (0.44, 0.645), "adversarial": (0.735, 0.94)}
    changed = {
        name: (
            drawn[int(top * height) : int(bottom * height)] != nothing[int(top * height) : int(bottom * height)]
        ).any()
        for name, (top, bottom) in rows.items()
    }
    assert changed == {"original": False, "perturbation": True, "adversarial": True}


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
