"""``python project.py COMMAND``: finds the command, runs it, turns errors into sentences and exit codes."""

from __future__ import annotations

import argparse
import errno
import importlib
import keyword
import os
import sys
from typing import TYPE_CHECKING, Any

from pointillist.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, PointillistError, near_matches

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pointillist.study import Study

COMMANDS = {
    "status": "show what is done, what can run and what failed",
    "run": "run what is eligible on this machine, until nothing is",
    "submit": "hand what is eligible to the scheduler of this cluster",
    "cancel": "take tasks back from the scheduler",
    "next": "print the ids of jobs for which an operation could run now",
    "explain": "say for each condition of a task whether it holds, and why the task is not running",
    "logs": "show what tasks printed",
    "usage": "show what tasks took, beside what their operations ask for",
    "reproduce": "make finished jobs again in a scratch folder and compare every file",
    "export": "pack the whole study into one archive, with metadata",
    "import": "unpack the archive of a study into a new folder, verified",
    "completion": "print a script that lets bash or zsh complete operations and ids",
    "exec": "execute one operation now, whatever its conditions say",
}


def main(project: Study, parser: argparse.ArgumentParser | None = None, argv: Sequence[str] | None = None) -> int:
    """Run a command line of a project and return the exit code.

    Parameters
    ----------
    project
        The project.
    parser
        A parser of the user's own to add the commands to.
    argv
        The words after the program's name; by default those of this process.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if is_asked := "_ARGCOMPLETE" in os.environ and argv is None:
        from pointillist.cli import completion

        words = completion.words_so_far()
    # A word may also be the value of an option that the user's own parser has.
    plain = [word for word in words if not word.startswith("-")]
    chosen = next((word for word in plain if word in COMMANDS), plain[0] if plain else None)
    parser = parser or argparse.ArgumentParser(formatter_class=argparse.RawDescriptionHelpFormatter)
    command = _describe(parser, chosen, project)
    if is_asked:
        completion.answer(project, parser)
    if chosen is not None and chosen not in COMMANDS and not parser._get_positional_actions()[:-1]:
        hint = near_matches(chosen, COMMANDS)
        print(f"There is no command {chosen!r}.{' ' + hint if hint else ''}", file=sys.stderr)
        return EXIT_USAGE
    arguments, unknown = parser.parse_known_args(words)
    if unknown:
        return report(_not_understood(unknown, chosen or "project.py", command))
    if arguments.command is None:
        parser.print_usage(sys.stderr)
        print(f"Commands: {', '.join(COMMANDS)}. --help says more.", file=sys.stderr)
        return EXIT_USAGE
    try:
        code: int = _module(arguments.command).run(project, arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except PointillistError as error:
        if arguments.debug:
            raise
        return report(error)
    except OSError as error:
        if arguments.debug or error.errno not in _HINTS:
            raise
        return report(of_system(error))


def report(error: PointillistError) -> int:
    """Print an error of ours in words, the most important line last, and return its exit code."""
    print(f"Error: {error}", file=sys.stderr)
    if error.hint:
        print(error.hint, file=sys.stderr)
    return error.exit_code


_HINTS = {
    errno.ENOSPC: "The disk is full: make room, then say the same again. What was complete before still is.",
    errno.EDQUOT: "Your quota is used up: make room, then say the same again. What was complete before still is.",
    errno.EROFS: "This place is read-only; `status` and `explain` work all the same.",
    errno.EACCES: "Ask for the right to write there, or copy the project; `status` and `explain` work all the same.",
    errno.EPERM: "Ask for the right to write there, or copy the project; `status` and `explain` work all the same.",
    errno.EIO: "The disk or the network it hangs on is in trouble.",
    errno.ESTALE: "The network file system has lost this file; say the same again.",
}


def of_system(error: OSError) -> PointillistError:
    """Put what the operating system refuses into words."""
    where = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, (str, bytes)) else ""
    return PointillistError(
        f"The operating system refuses: {os.strerror(error.errno or 0)}{':' if where else ''}{where}.",
        hint=_HINTS.get(error.errno or 0, ""),
    )


def _not_understood(unknown: list[str], whose: str, command: argparse.ArgumentParser) -> PointillistError:
    """Say which word of a command line means nothing, and what it may have been meant to be."""
    words = [word for word in unknown if word != "--"] or unknown
    option = next((word for word in words if word.startswith("-")), "").partition("=")[0]
    known = [name for name in command._option_string_actions if name.startswith("--")]
    if option:
        what, near = f"has no option {option}", near_matches(option, known) if option.startswith("--") else ""
    else:
        what = f"does not know what to do with {words[0]!r}"
        near = "-o names operations, -j jobs, -f what jobs must match." if "--operation" in known else ""
    return PointillistError(f"{whose} {what}.", hint=f"{near} `--help` tells them all.".strip())


def _describe(parser: argparse.ArgumentParser, chosen: str | None, project: Study) -> argparse.ArgumentParser:
    """Add the commands to a parser, in full only for the chosen one, and return what reads its options."""
    reader = parser
    parser.add_argument("--debug", action="store_true", help="show full tracebacks")
    parser.add_argument("-v", "--verbose", action="count", default=0, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        module = _module(name) if name == chosen else None
        command = commands.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"examples:\n{module.EXAMPLES}" if module else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            # An option of the project's own may take the place of one of ours.
            conflict_handler="resolve" if hasattr(module, "add_project_arguments") else "error",
        )
        if module:
            reader = command
            module.add_arguments(command)
            if hasattr(module, "add_project_arguments"):
                module.add_project_arguments(project, command)
            command.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show full tracebacks")
            command.add_argument("-v", "--verbose", action="count", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return reader


def _module(command: str) -> Any:
    # A keyword can't be the name of a module.
    return importlib.import_module(f"pointillist.cli.{command}{'_' if keyword.iskeyword(command) else ''}")
