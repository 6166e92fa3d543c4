"""``plmnist attack``: attack the trained networks of folders."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from plmnist.cli.options import add_common, add_device, add_folders, folders_of, number_or_text
from plmnist.cli.report import Report
from plmnist.config import ATTACKS, CURVE
from plmnist.device import check_device
from plmnist.errors import ConfigurationError, near_matches

SUMMARY = "attack trained networks"
DESCRIPTION = (
    "Attack the trained network of each folder, at the epsilon of its configuration and at "
    f"{', '.join(f'{epsilon:g}' for epsilon in CURVE)}."
)

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
        nargs="+",
        default=["fgsm"],
        metavar="NAME",
        help="one or several of fgsm (fast gradient sign), pgd (projected gradient descent) and noise (uniform, the "
        "control); the result of each is in NAME.json (default: fgsm)",
    )
    parser.add_argument(
        "--images",
        metavar="N",
        type=number_or_text,
        help="attack N test images only, spread evenly over all; the record says so (default: all)",
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
    from plmnist.batch import LEGACY, attack_folders

    for epsilon in arguments.epsilon:
        if not 0 <= epsilon <= 1:
            raise ConfigurationError(f"epsilon must be between 0 and 1, in pixel units, not {epsilon:g}")
    attacks = _attacks(arguments)
    if arguments.legacy_clamp:
        if attacks != ["fgsm"] or arguments.images is not None:
            other = "--images" if arguments.images is not None else f"--attack {' '.join(attacks)}"
            raise ConfigurationError(f"--legacy-clamp and {other} exclude each other")
        attacks = [LEGACY]
    _check_number("images", arguments.images)
    settings = _pgd_settings(arguments, attacks)
    with Report(arguments, verb="attacked") as report:
        attack_folders(
            folders_of(arguments),
            report,
            config_name=arguments.config_name,
            attacks=attacks,
            settings={"pgd": settings},
            epsilons=arguments.epsilon,
            device=check_device(arguments.device),
            n_images=arguments.images,
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    return report.exit_status


def _attacks(arguments: argparse.Namespace) -> list[str]:
    """Return the attacks that are wanted; folders named behind them are moved to the folders."""
    names: list[str] = []
    for i, word in enumerate(arguments.attack):
        if word in ATTACKS:
            names.append(word)
        elif names and Path(word).exists():
            arguments.folders = [*arguments.folders, *arguments.attack[i:]]
            break
        else:
            raise ConfigurationError(f"unknown attack {word!r}", hint=near_matches(word, ATTACKS))
    return names


def _pgd_settings(arguments: argparse.Namespace, attacks: list[str]) -> dict[str, int | float]:
    settings = {name: getattr(arguments, name) for name in _PGD_OPTIONS if getattr(arguments, name) is not None}
    for name, value in settings.items():
        if "pgd" not in attacks:
            raise ConfigurationError(f"--{name.replace('_', '-')} needs --attack pgd")
        _check_number(name, value, is_whole=name != "step_size")
    if "steps" in settings:
        settings.setdefault("step_size", 2.5 / settings["steps"])
    return settings


def _check_number(name: str, value: int | float | str | None, *, is_whole: bool = True) -> None:
    if is_whole:
        is_usable = value is None or (isinstance(value, int) and value >= 1)
    else:
        is_usable = value is None or (not isinstance(value, str) and 0 < value < math.inf)
    if not is_usable:
        kind = "a whole number, at least 1" if is_whole else "a number above 0"
        raise ConfigurationError(f"--{name.replace('_', '-')} must be {kind}, not {value!r}")
