#!/usr/bin/env python3
"""Make the jobs of the study: one for each point of a grid of parameters.

    python init.py                   the grid of the embedded digits
    python init.py --dataset mnist   the tutorial's grid on MNIST

Run it again after changing a grid: new points become new jobs, and nothing that is there is touched.
"""

import argparse
import sys
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


def main() -> int:
    """Make the jobs and say how many are new."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", nargs="+", choices=GRIDS, default=["digits"], help="whose grid; default: digits")
    arguments = parser.parse_args()
    try:
        # Checked and brought to one type each: 0 and 0.0 are the same point and become the same job.
        statepoints = [
            Configuration.from_mapping(point).to_mapping() for name in arguments.dataset for point in GRIDS[name]
        ]
    except PlmnistError as error:
        print(f"Error in a grid: {error}\n{error.hint}".rstrip(), file=sys.stderr)
        return 2
    project = FlowProject.init_project(Path(__file__).parent)
    counts = make_jobs(project, statepoints)
    print(f"{counts.new} new jobs, {counts.existing} were there. Next: python project.py status, then run")
    return 0


if __name__ == "__main__":
    sys.exit(main())
