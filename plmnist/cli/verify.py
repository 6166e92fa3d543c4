"""``plmnist verify``: look for contradictions in folders of results."""

from __future__ import annotations

import argparse
import json
import sys

from plmnist.cli.options import folders_of

SUMMARY = "look for damaged, missing or foreign files"
DESCRIPTION = (
    "Hold every statement of the files in each folder against the facts: hashes, entries, rates against counts, "
    "configurations, the network that an attack names, provenance. Each problem is a sentence; exit status 1 if there "
    "is one. Nothing is computed anew and nothing is changed."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds results")
    parser.add_argument(
        "--config-name",
        metavar="FILE",
        help="file name of the configuration in each folder (default: config.json or signac_statepoint.json)",
    )
    parser.add_argument(
        "--need", nargs="+", default=[], metavar="PART", help="parts that must be there besides train: fgsm, pgd, noise"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def run(arguments: argparse.Namespace) -> int:
    """Verify."""
    from plmnist.verification import verify_folder

    found: dict[str, list[str]] = {}
    for folder in dict.fromkeys(folders_of(arguments)):
        found[folder] = verify_folder(folder, config_name=arguments.config_name, needed=tuple(arguments.need))
        if not arguments.json:
            for problem in found[folder]:
                print(f"{folder}: {problem}", flush=True)
    n_problems = sum(map(len, found.values()))
    if arguments.json:
        print(json.dumps({"schema": "plmnist/verify/1", "problems": found}, indent=2))
    else:
        plural = "s" if len(found) != 1 else ""
        print(f"{len(found)} folder{plural} verified, {n_problems or 'no'} problem{'s' if n_problems != 1 else ''}")
        if n_problems:
            print("Remove the files that are damaged and run again: what is missing is made again.", file=sys.stderr)
    return 1 if n_problems else 0
