"""``plmnist check``: ask whether an evaluation can be believed."""

from __future__ import annotations

import argparse
import json
from typing import Any

from plmnist import results
from plmnist.cli.options import add_common, add_device, add_folders, folders_of
from plmnist.cli.report import Report
from plmnist.device import check_device

SUMMARY = "ask whether an evaluation can be believed"
DESCRIPTION = (
    "Attack each trained network with FGSM, PGD and noise and say what speaks against believing such an evaluation, a "
    "sentence for each warning. All findings are written to checks.json in each folder; a network that has been "
    "checked is not checked again. Exit status 1 if there is a warning."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_common(parser)
    add_folders(parser)
    add_device(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--verbose", action="store_true", help="say of checks that passed what they found, too")
    output.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> int:
    """Check."""
    from plmnist.batch import check_folders

    with _Findings(arguments, verb="checked") as report:
        check_folders(
            folders_of(arguments),
            report,
            device=check_device(arguments.device),
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    if arguments.json:
        print(json.dumps(report.found, indent=2))
    return 1 if report.n_warnings else report.exit_status


class _Findings(Report):
    """Says what each check has found that did not pass, after the summary."""

    def __init__(self, arguments: argparse.Namespace, *, verb: str) -> None:
        super().__init__(arguments, verb=verb)
        self.is_quiet = arguments.json
        self._is_verbose: bool = arguments.verbose
        self.found: dict[str, list[dict[str, Any]]] = {}

    @property
    def n_warnings(self) -> int:
        """Number of checks that did not pass, in all folders."""
        return sum(not check["passed"] for checks in self.found.values() for check in checks)

    @property
    def last_line(self) -> str:
        return f"{super().last_line}, {self.n_warnings} warning{'s' if self.n_warnings != 1 else ''}"

    def say(self, folder: str, summary: str) -> None:
        self.found[folder] = results.load_checks(folder)["checks"]
        if self.is_quiet:
            return
        super().say(folder, summary)
        for check in self.found[folder]:
            if self._is_verbose or not check["passed"]:
                verdict = "pass" if check["passed"] else "WARNING"
                print(f"{folder}: {verdict}: {check['name']}: {check['sentence']}", flush=True)
