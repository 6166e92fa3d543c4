"""plmnist's attacks on networks trained as published ones were, beside the published numbers, on real MNIST.

Each network is trained as its source describes it (`benchmarks/recipes.py`), with as many seeds as its section says.
Beside the published number stand the mean over seeds, their standard deviation, and the interval in which another seed
lies in 95 of 100 cases: with three seeds it is wide, and one seed has none. FGSM and accuracy are those of all 10,000
test images; PGD is that of every twentieth.

    PLMNIST_DATA_DIR=<folder with MNIST> python benchmarks/bench_published.py --networks FOLDER
        [--only NAME ...] [--seeds 3] [--ready] [--record [FILE]] [--page FILE]

The folder keeps the networks and what was measured of them; what is missing is made first, which takes a core a quarter
of an hour for each seed of the tutorial's network, and minutes for all others. ``--ready`` makes nothing and takes the
seeds that are there. Measurements are kept, too: remove the ``.json`` files to measure anew, with other code.
``--page`` writes the summary into a page of documentation.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from agreement import HEAD, compare
from recipes import RECIPES, Recipe, file_of, network_of
from setting import add_page_option, add_record_option, describe, replace_section, table

from plmnist.attacks import attack_images
from plmnist.perturbations import PGD, FastGradientSign
from plmnist.results import write_atomically
from plmnist.sample import Sample
from plmnist.training import TrainingData, prepare_data

PGD_OF_WONG = PGD(steps=50, step_size=0.01 / 0.3, restarts=10)
"""As they evaluate: 50 steps of 0.01 within 0.3, ten times."""

PGD_IMAGES = 500
"""How many of the test images PGD attacks, spread evenly."""


def measured(recipe: Recipe, seed: int, data: TrainingData, folder: Path) -> dict[str, float]:
    """Return our value of each published number for one seed, by the number's name."""
    file = folder / f"{recipe.key}-{seed}.json"
    if not file.exists():
        network, accuracies = network_of(recipe, seed, data, folder)
        found = {p.name: accuracies[p.epoch or recipe.epochs] for p in recipe.published if p.attack == "none"}
        budgets = [p.epsilon for p in recipe.published if p.attack == "FGSM"]
        if budgets:
            counts = attack_images(network, data.test, budgets, FastGradientSign()).counts
            # The tutorial counts as right what was right before, too.
            found |= {f"under FGSM at {c.epsilon:g}": c.adversarial_correct_given_clean / c.n for c in counts}
        for p in recipe.published:
            if p.attack == "PGD":
                some = data.test.at(Sample.spread(PGD_IMAGES, len(data.test)))
                (counts,) = attack_images(network, some, [p.epsilon], PGD_OF_WONG).counts
                found[p.name] = counts.adversarial_acc
        write_atomically(file, json.dumps(found).encode())
    return dict(json.loads(file.read_bytes()))


def rows_of(recipe: Recipe, seeds: Sequence[int], data: TrainingData, folder: Path) -> list[list[str]]:
    """Return a row for each published number."""
    by_seed = [measured(recipe, seed, data, folder) for seed in seeds]
    return [[p.name, *compare(p.value, [found[p.name] for found in by_seed])] for p in recipe.published]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--networks", type=Path, required=True, help="folder that keeps the networks")
    parser.add_argument("--only", nargs="+", choices=[recipe.key for recipe in RECIPES], help="default: all")
    parser.add_argument("--seeds", type=int, default=3, help="of each network, 1 to this (3)")
    parser.add_argument("--ready", action="store_true", help="take only the networks that are there")
    add_page_option(parser, "published")
    add_record_option(parser, "published")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = prepare_data("mnist")
    sections, summary = [], []
    for recipe in RECIPES:
        seeds = list(range(1, arguments.seeds + 1))
        if arguments.ready:
            seeds = [seed for seed in seeds if file_of(recipe, seed, arguments.networks).exists()]
        if not seeds or (arguments.only and recipe.key not in arguments.only):
            continue
        rows = rows_of(recipe, seeds, data, arguments.networks)
        about = f"{recipe.setting}. {len(seeds)} seed{'s' * (len(seeds) > 1)}. Source: {recipe.source}."
        sections += [f"## {recipe.title}", about, table(["what", *HEAD], rows)]
        summary += [[recipe.title, row[0], row[1], f"{row[2]} ({len(seeds)})", row[-1]] for row in rows]
    text = "\n\n".join(
        [
            "# Networks trained as published ones",
            __doc__.partition("\n\n")[2].partition("\n\n")[0],
            *sections,
            describe(["torch", "numpy"]),
        ]
    )
    print(text)
    if arguments.record:
        arguments.record.write_text(text + "\n")
    if arguments.page:
        head = ["network", "what", "published", "ours, mean (seeds)", HEAD[-1]]
        replace_section(arguments.page, "published", table(head, summary))


if __name__ == "__main__":
    main()
