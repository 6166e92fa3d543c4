"""``plmnist attack``: attack the trained networks of folders."""

from __future__ import annotations

import argparse
import math

from plmnist.cli.options import add_common, add_device, add_folders, folders_of, number_or_text
from plmnist.cli.report import Report
from plmnist.config import CURVE
from plmnist.device import check_device
from plmnist.errors import ConfigurationError, near_matches

SUMMARY = "attack trained networks"
DESCRIPTION = (
    "Attack the trained network of each folder, at the epsilon of its configuration and at "
    f"{', '.join(f'{epsilon:g}' for epsilon in CURVE)}."
)

ATTACKS = ("fgsm", "pgd", "noise")
"""As in plmnist.perturbations.ATTACKS, which is not imported here because it imports torch; a test compares them."""

_PGD_OPTIONS = {
    "steps": "of pgd: steps of each attempt (default: 40)",
    "step_size": "of pgd: length of a step in units of epsilon (default: 2.5 / steps)",
    "restarts": "of pgd: attempts per image and epsilon (default: 1)",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_common(parser)
    add_folders(parser)
    add_device(parser)
    parser.add_argument(
        "--attack",
        default="fgsm",
        metavar="NAME",
        help="fgsm (fast gradient sign), pgd (projected gradient descent) or noise (uniform, the control); the result "
        "is in NAME.json (default: %(default)s)",
    )
    parser.add_argument(
        "--epsilon",
        nargs="+",
        type=float,
        default=[],
        metavar="E",
        help="further budgets for the curve, in pixel units",
    )
    for name, about in _PGD_OPTIONS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="X", type=number_or_text, help=about)
    parser.add_argument(
        "--legacy-clamp",
        action="store_true",
        help="compute what the original tutorial called FGSM accuracy, for comparison with old results only: it clips "
        "normalised images to [0, 1]; epsilon is taken in normalised units; the result is in fgsm_legacy.json",
    )


def run(arguments: argparse.Namespace) -> int:
    """Attack."""
    from plmnist.batch import attack_folders

    for epsilon in arguments.epsilon:
        if not 0 <= epsilon <= 1:
            raise ConfigurationError(f"epsilon must be between 0 and 1, in pixel units, not {epsilon:g}")
    if arguments.attack not in ATTACKS:
        raise ConfigurationError(f"unknown attack {arguments.attack!r}", hint=near_matches(arguments.attack, ATTACKS))
    if arguments.legacy_clamp:
        if arguments.attack != "fgsm":
            raise ConfigurationError(f"--legacy-clamp and --attack {arguments.attack} exclude each other")
        arguments.attack = "fgsm_legacy"
    settings = {name: getattr(arguments, name) for name in _PGD_OPTIONS if getattr(arguments, name) is not None}
    for name, value in settings.items():
        if arguments.attack != "pgd":
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --attack pgd")
        is_usable = isinstance(value, int) and value >= 1
        if name == "step_size":
            is_usable = not isinstance(value, str) and 0 < value < math.inf
        if not is_usable:
            kind = "a number above 0" if name == "step_size" else "a whole number, at least 1"
            raise ConfigurationError(f"--{name.replace('_', '-')} must be {kind}, not {value!r}")
    if "steps" in settings:
        settings.setdefault("step_size", 2.5 / settings["steps"])
    with Report(arguments, verb="attacked") as report:
        attack_folders(
            folders_of(arguments),
            report,
            config_name=arguments.config_name,
            attack=arguments.attack,
            settings=settings,
            epsilons=arguments.epsilon,
            device=check_device(arguments.device),
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    return report.exit_status
