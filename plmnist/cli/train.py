"""``plmnist train``: train and test the networks of folders, or of one configuration."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from plmnist import results
from plmnist.cli.options import add_common, add_device, add_folders, folders_of, number_or_text
from plmnist.cli.report import Report
from plmnist.config import ENGINES, OPTIONAL, STACKED, Configuration
from plmnist.device import check_device
from plmnist.errors import ConfigurationError, PlmnistError, near_matches

SUMMARY = "train and test networks"
DESCRIPTION = (
    "Train and test the network of each folder, or of one configuration given by options. Folders that are finished "
    "are left alone; equal networks are trained once."
)

DEFAULTS: dict[str, Any] = {
    "dataset": "digits",
    "num_epochs": 10,
    "batch_size": 32,
    "hidden_size": 64,
    "learning_rate": 1e-3,
    "dropout_prob": 0.1,
    "fgsm_epsilon": 0.05,
    "seed": 1,
    **OPTIONAL,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_common(parser)
    add_folders(parser)
    add_device(parser)
    parser.add_argument(
        "--engine",
        default="tensor",
        metavar="NAME",
        help="tensor or lightning, which give the same bytes, or stacked: all networks of equal shape at once, for a "
        "GPU; its results are near, not equal; what it can't stack, tensor trains (default: %(default)s)",
    )
    parser.add_argument(
        "--stack-size",
        metavar="N",
        type=number_or_text,
        help="of stacked: networks to train at once, at most (default: as many as fit the memory)",
    )
    options = parser.add_argument_group("one configuration, instead of folders")
    options.add_argument("--output", metavar="DIR", help="folder for the configuration and its results")
    for name, default in DEFAULTS.items():
        options.add_argument(
            f"--{name.replace('_', '-')}", metavar="X", type=number_or_text, help=f"default: {default}"
        )


def run(arguments: argparse.Namespace) -> int:
    """Train."""
    from plmnist.batch import train_folders

    if arguments.engine not in ENGINES:
        raise ConfigurationError(f"unknown engine {arguments.engine!r}", hint=near_matches(arguments.engine, ENGINES))
    if arguments.stack_size is not None:
        if arguments.engine != STACKED:
            raise ConfigurationError("--stack-size needs --engine stacked")
        if not isinstance(arguments.stack_size, int) or arguments.stack_size < 1:
            raise ConfigurationError(f"--stack-size must be a whole number, at least 1, not {arguments.stack_size!r}")
    given = {name: getattr(arguments, name) for name in DEFAULTS if getattr(arguments, name) is not None}
    if arguments.output is not None:
        if arguments.folders:
            raise ConfigurationError(
                "--output and folders exclude each other", hint="Give one configuration or folders."
            )
        config = Configuration.from_mapping({**DEFAULTS, **given})
        arguments.folders = [arguments.output]
        _place_config(Path(arguments.output), arguments.config_name, config, force=arguments.force)
    elif given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise ConfigurationError(f"{option} needs --output", hint="Folders bring their own configuration.")
    with Report(arguments, verb="trained") as report:
        train_folders(
            folders_of(arguments),
            report,
            config_name=arguments.config_name,
            engine=arguments.engine,
            stack_size=arguments.stack_size,
            device=check_device(arguments.device),
            data_dir=arguments.data_dir,
            force=arguments.force,
        )
    return report.exit_status


def _place_config(folder: Path, config_name: str, config: Configuration, *, force: bool) -> None:
    """Write a configuration given by options into its folder, unless another one lives there."""
    path = folder / config_name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists() and not force and results.read_config(path) != config:
            raise ConfigurationError(
                f"{path} holds another configuration", hint="Choose another --output, or replace it with --force."
            )
        results.write_atomically(path, (json.dumps(config.to_mapping(), indent=2) + "\n").encode())
    except OSError as error:
        raise PlmnistError(f"{path} cannot be written: {error.strerror}") from error
