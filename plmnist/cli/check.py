"""``plmnist check``: ask whether an evaluation can be believed."""

from __future__ import annotations

import argparse
import json
import traceback
from typing import Any

from plmnist import results
from plmnist.cli.options import add_common, add_device, folders_of, print_error
from plmnist.device import choose_device
from plmnist.errors import PlmnistError

SUMMARY = "ask whether an evaluation can be believed"
DESCRIPTION = (
    "Attack each trained network with FGSM, PGD and noise and say, in a sentence each, what speaks for or against "
    "believing such an evaluation. Exit status 1 if there is a warning."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_common(parser)
    add_device(parser)
    parser.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds a trained network")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Check."""
    folders = dict.fromkeys(folders_of(arguments))
    from plmnist.checks import check_evaluation
    from plmnist.data import load_test

    device = choose_device(arguments.device)
    found: dict[str, list[dict[str, Any]]] = {}
    n_warnings = n_failed = 0
    for folder in folders:
        try:
            dataset = results.load_train(folder)["config"]["dataset"]
            checks = check_evaluation(results.load_network(folder).to(device), load_test(dataset, arguments.data_dir))
        except PlmnistError as error:
            if arguments.debug:
                traceback.print_exc()
            n_failed += 1
            print_error(error)
            continue
        n_warnings += sum(not check.passed for check in checks)
        found[folder] = [{"name": c.name, "passed": c.passed, "sentence": c.sentence} for c in checks]
        if not arguments.json:
            for check in checks:
                print(f"{folder}: {'pass' if check.passed else 'WARNING'}: {check.name}: {check.sentence}", flush=True)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        line = f"{len(found)} of {len(folders)} folder{'s' if len(folders) != 1 else ''} checked"
        print(f"{line}, {n_warnings} warning{'s' if n_warnings != 1 else ''}")
    return 1 if n_warnings or n_failed else 0
