#!/usr/bin/env python3
"""Make the jobs of the study: one for each point of a grid of parameters.

    python init.py                                 the grid of the embedded digits, with adversarial training
    python init.py --dataset mnist                 the tutorial's grid on MNIST
    python init.py --dataset mnist --adversarial   the same with adversarial training

Run it again after changing a grid: new points become new jobs, and nothing that is there is touched.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from plmnist.config import Configuration
from plmnist.errors import PlmnistError
from pointillist import FlowProject, grid, make_jobs

# CHANGE HERE: the points of the study. A list is varied, a single value is not.
GRIDS = {
    "digits": grid(
        dataset="digits",
        num_epochs=[5, 20],
        batch_size=32,
        hidden_size=64,
        learning_rate=1e-3,
        dropout_prob=[0.0, 0.1, 0.5],
        fgsm_epsilon=0.1,
        seed=[1, 2, 3],
    ),
    # The other three data sets have images of 28 x 28 pixels and share the tutorial's grid.
    **{
        dataset: grid(
            dataset=dataset,
            num_epochs=[1, 5],
            batch_size=128,
            hidden_size=64,
            learning_rate=2e-4,
            dropout_prob=[0.0, 0.1, 0.5],
            fgsm_epsilon=0.05,
            seed=[1, 2, 3],
        )
        for dataset in ("mnist", "fashion_mnist", "kmnist")
    },
}

# CHANGE HERE: how networks are trained besides the standard way; they learn from images that are attacked in each step.
ADVERSARIAL = ["fgsm", "pgd"]


def adversarial(points: list[Configuration]) -> list[Configuration]:
    """Return the points of adversarial training: for the longest training with the least dropout, all seeds."""
    budget = max(point.fgsm_epsilon for point in points)
    setting = max((point.num_epochs, -point.dropout_prob) for point in points)
    return [
        replace(point, training=training, training_epsilon=budget)
        for point in points
        if (point.num_epochs, -point.dropout_prob) == setting and point.training == "standard" and budget > 0
        for training in ADVERSARIAL
    ]


def main() -> int:
    """Make the jobs and say how many are new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", choices=GRIDS, default=["digits"], help="whose grid; default: digits")
    parser.add_argument(
        "--adversarial", action="store_true", help="add adversarial training, which the digits have anyway"
    )
    arguments = parser.parse_args()
    statepoints = []
    try:
        for name in arguments.dataset:
            # Checked and brought to one type each: 0 and 0.0 are the same point and become the same job.
            points = [Configuration.from_mapping(point) for point in GRIDS[name]]
            if arguments.adversarial or name == "digits":
                points += adversarial(points)
            statepoints += [point.to_mapping() for point in points]
    except PlmnistError as error:
        print(f"Error in a grid: {error}\n{error.hint}".rstrip(), file=sys.stderr)
        return 2
    project = FlowProject.init_project(Path(__file__).parent)
    counts = make_jobs(project, statepoints)
    print(f"{counts.new} new jobs, {counts.existing} were there. Next: python project.py status, then run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
