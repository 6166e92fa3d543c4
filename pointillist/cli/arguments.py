"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse

from pointillist.definition.directives import memory_gigabytes
from pointillist.definition.ignoring import IgnoreConditions
from pointillist.execution.running.terms import at_most


def count(text: str) -> int:
    """Read a number of at least one."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number")
    return number


def count_or_none(text: str) -> int:
    """Read a number of at least zero."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def count_or_all(text: str) -> int:
    """Read a number of at least one, or 0 or -1 for as many as there are, which is 0."""
    return 0 if text in ("0", "-1") else count(text)


def limit(text: str) -> int | None:
    """Read how many at most; a negative number stands for no limit, which is None."""
    try:
        return at_most(int(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def gigabytes(text: str) -> float | None:
    """Read an amount of memory: gigabytes, or with a unit."""
    try:
        return memory_gigabytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount of memory: {error}") from None


def add_ignored(parser: argparse._ActionsContainer, option: str, description: str) -> None:
    """Declare an option that says which conditions not to ask."""
    parser.add_argument(
        option, type=_ignored, metavar="{none,pre,post,all}", default=IgnoreConditions.NONE, help=description
    )


def _ignored(text: str) -> IgnoreConditions:
    try:
        return IgnoreConditions.of(text)
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is none of none, pre, post, all") from None
