"""The ``plmnist`` command, one module for each of its commands.

Says on standard output what became of each folder, one line each, and on standard error how downloads proceed. Exit
status: 0 all well, 1 something failed, 2 wrong usage, 130 interrupted.

Another command is a module with ``SUMMARY``, ``DESCRIPTION``, ``add_arguments`` and ``run``, and a name in
:data:`COMMANDS`. Modules here import nothing heavy: what a command computes with is imported when it runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from plmnist import __version__
from plmnist.cli.options import print_error
from plmnist.errors import ConfigurationError, PlmnistError

__all__ = ["COMMANDS", "main"]

COMMANDS = ("download", "train", "attack", "check", "verify")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except KeyboardInterrupt:
        print("plmnist: interrupted; what was finished is on the disk", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of standard output has gone; Python would complain about it once more on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except PlmnistError as error:
        if arguments.debug:
            traceback.print_exc()
        print_error(error)
        return 2 if isinstance(error, ConfigurationError) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="plmnist",
        description="Train small networks on MNIST-like images and attack them.",
        epilog="plmnist COMMAND --help says more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"plmnist {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f"plmnist.cli.{name}")
        command = commands.add_parser(name, help=module.SUMMARY, description=module.DESCRIPTION)
        module.add_arguments(command)
        command.set_defaults(command=module.run)
    return parser
