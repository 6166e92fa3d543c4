"""Options that several commands share, and how an error is told."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from plmnist.data import DATA_DIR_VARIABLE, DEFAULT_DATA_DIR
from plmnist.device import DEVICE_VARIABLE, DEVICES
from plmnist.errors import ConfigurationError, PlmnistError

DEFAULT_CONFIG_NAME = "config.json"

DATA_HELP = f"data folder; a folder named by {DATA_DIR_VARIABLE} is looked at first (default: {DEFAULT_DATA_DIR})"


def add_common(parser: argparse.ArgumentParser) -> None:
    """Declare what every command has."""
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=DATA_HELP)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_folders(parser: argparse.ArgumentParser) -> None:
    """Declare what the commands have that work through folders."""
    parser.add_argument("folders", nargs="*", metavar="DIR", help="folder that holds a configuration and its results")
    parser.add_argument(
        "--config-name",
        default=DEFAULT_CONFIG_NAME,
        metavar="FILE",
        help="file name of the configuration in each folder, JSON (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="do it again where it has been done")
    parser.add_argument(
        "--report", default="", metavar="FILE", help="append start and end of each folder to this file, JSON lines"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Declare what the commands have that compute."""
    parser.add_argument(
        "--device",
        metavar="NAME",
        help=f"{', '.join(DEVICES[:-1])} or {DEVICES[-1]} (default: what {DEVICE_VARIABLE} says, or cpu)",
    )


def folders_of(arguments: argparse.Namespace) -> list[str]:
    """Return the folders that were named, of which there must be one."""
    if not arguments.folders:
        raise ConfigurationError("no folder given", hint="See --help.")
    folders: list[str] = arguments.folders
    return folders


def number_or_text(text: str) -> int | float | str:
    """Return a word as the number that it spells, or as it is: the configuration judges it."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def print_error(error: PlmnistError) -> None:
    """Say on standard error what went wrong and what to do next."""
    print(f"plmnist: {error}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
