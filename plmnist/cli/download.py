"""``plmnist download``: fetch data sets and verify them."""

from __future__ import annotations

import argparse
import traceback

from plmnist.cli.options import add_common, print_error
from plmnist.cli.progress import ProgressBar
from plmnist.data import dataset_named
from plmnist.errors import PlmnistError
from plmnist.registry import DATASETS

SUMMARY = "fetch data sets and verify them"
DESCRIPTION = "Fetch data sets and verify every file; what is there already is not fetched again."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_common(parser)
    parser.add_argument("datasets", nargs="+", metavar="DATASET", help=", ".join(DATASETS))
    parser.add_argument(
        "--mirror", action="append", default=[], metavar="URL", help="address to try before the known ones"
    )


def run(arguments: argparse.Namespace) -> int:
    """Fetch and verify."""
    from plmnist.download import download

    for name in arguments.datasets:
        dataset_named(name)
    failures: list[PlmnistError] = []
    with ProgressBar() as progress:
        for name in dict.fromkeys(arguments.datasets):
            try:
                files = download(name, arguments.data_dir, mirrors=arguments.mirror, progress=progress)
            except PlmnistError as error:
                failures.append(error)
                if arguments.debug:
                    traceback.print_exc()
            else:
                for path, fetched in files:
                    print(f"{name}: {path} {'fetched and verified' if fetched else 'verified'}", flush=True)
    for failure in failures:
        print_error(failure)
    return 1 if failures else 0
