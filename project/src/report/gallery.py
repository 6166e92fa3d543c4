"""Some test images before and after the attack, always the same ones: the first of each class."""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from src.parameters import in_words
from src.report.effects import Effect, others_of, varying, with_value
from src.report.facts import DataSetResults, Network

from plmnist.registry import DATASETS


@dataclass(frozen=True)
class Cell:
    """One image, and what a network makes of it."""

    source: str
    alt: str
    verdict: str = ""
    outcome: str = ""


@dataclass(frozen=True)
class Row:
    """The images of one network."""

    title: str
    cells: list[Cell]


def gallery(results: DataSetResults, effect: Effect | None) -> list[Row]:
    """Return the originals, and what FGSM makes of them for the networks that are compared; empty without examples."""
    classes = DATASETS[results.name].classes
    rows: list[Row] = []
    for title, network in _chosen(results, effect):
        examples = network.examples(results.epsilon)
        if examples is None:
            continue
        labels = [classes[i] for i in examples["label"]]
        if not rows:
            originals = zip(examples["index"], labels, examples["original"], strict=True)
            cells = [Cell(_png(image), f"test image {i}, a {name}", f"{name}", "") for i, name, image in originals]
            rows.append(Row("original", cells))
        rows.append(Row(title, [_cell(examples, i, classes) for i in range(len(labels))]))
    return rows


def _chosen(results: DataSetResults, effect: Effect | None) -> list[tuple[str, Network]]:
    """Return the network with the smallest seed of each value that is compared, or of the first setting."""
    if effect is None:
        networks = next(iter(results.settings().values()), [])
        return [("after FGSM", min(networks, key=lambda network: network.seed))] if networks else []
    chosen = []
    for value in (effect.before, effect.after):
        networks = [n for n in with_value(results, effect, value) if others_of(n, effect.parameter) == effect.others[0]]
        chosen.append((in_words(effect.parameter, value), min(networks, key=lambda network: network.seed)))
    return chosen


def describe_choice(results: DataSetResults, effect: Effect | None) -> str:
    """Return what the networks of the gallery have in common, as a phrase."""
    chosen = _chosen(results, effect)
    if not chosen:
        return ""
    network = chosen[0][1]
    names = [name for name in varying(results.attacked) if effect is None or name != effect.parameter]
    return ", ".join([*(in_words(name, network.parameters[name]) for name in names), f"seed {network.seed}"])


def _cell(examples: dict[str, Any], i: int, classes: tuple[str, ...]) -> Cell:
    label, before, after = (int(examples[name][i]) for name in ("label", "clean_prediction", "adversarial_prediction"))
    if before != label:
        verdict, outcome = f"{classes[before]} before", "wrong"
    elif after != label:
        verdict, outcome = f"\N{RIGHTWARDS ARROW} {classes[after]}", "fooled"
    else:
        verdict, outcome = classes[after], "held"
    words = {"wrong": "misclassified before the attack", "fooled": f"taken for a {classes[after]}", "held": "withstood"}
    alt = f"test image {examples['index'][i]}, a {classes[label]}, after FGSM: {words[outcome]}"
    return Cell(_png(examples["adversarial"][i]), alt, verdict, outcome)


def _png(pixels: Any) -> str:
    """Return an image in [0, 1], shape (1, H, W), as a data address; dark ink on white."""
    grey = np.rint(255 * (1 - np.clip(pixels[0], 0, 1))).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(grey).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()
