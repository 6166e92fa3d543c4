"""Commands so plain that a shell would only start one program with a few words; they are started without it.

Starting a shell takes longer than many a program runs. A command is plain only when nothing in it means anything to a
shell: its first word names a program by the shell's own rules, and all its words consist of letters, digits and signs
that stand for themselves. Everything else, and whatever is in doubt, goes to the shell.
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Mapping

_WORDS = re.compile(r"[A-Za-z0-9_./+-]+(?: +[A-Za-z0-9_./+=:,@%-]+)*", re.ASCII)

_OF_THE_SHELL = """
    . : [ alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare dirs
    disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash help
    history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select set
    shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset until wait while
    """
"""Reserved words and built-in commands of POSIX, dash and bash."""


_SET_BY_THE_SHELL = frozenset({"IFS", "LINENO", "OPTIND", "PPID"})
"""Variables that dash sets for itself; where the environment has one of them, programs see the shell's."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def plain_words(command: str, env: Mapping[str, str]) -> tuple[str, list[str]] | None:
    """Return the program and the words of a command that needs no shell; None for all others.

    Parameters
    ----------
    command
        A command line, to be run in the current folder.
    env
        The environment it will have; its ``PATH`` says where programs are.
    """
    if not _WORDS.fullmatch(command) or not _shell_is_dash() or not _SET_BY_THE_SHELL.isdisjoint(env):
        return None
    words = command.split()
    if words[0] in _OF_THE_SHELL.split():
        return None
    program = _program(words[0], env.get("PATH", ""))
    return None if program is None else (program, words)


def _program(word: str, path: str) -> str | None:
    """Find a program as a shell does; None where shells may differ."""
    if "/" in word:
        return word if _is_program(word) else None
    for folder in path.split(os.pathsep):
        if not os.path.isabs(folder):
            return None
        candidate = os.path.join(folder, word)
        if os.path.exists(candidate):
            return candidate if _is_program(candidate) else None
    return None


def _is_program(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK)
    except OSError:
        return False


def as_in_a_shell(env: dict[str, str]) -> dict[str, str]:
    """Return an environment as dash hands it on: with the current folder, without names that are none to a shell."""
    here = env.get("PWD", "")
    try:
        is_here = os.path.isabs(here) and os.path.samefile(here, ".")
    except OSError:
        is_here = False
    kept = {name: value for name, value in env.items() if _NAME.fullmatch(name)}
    return kept if is_here else kept | {"PWD": os.getcwd()}


@functools.cache
def _shell_is_dash() -> bool:
    """Say whether ``/bin/sh`` is dash; bash also counts its levels and tells a program the path it was found at."""
    return os.path.basename(os.path.realpath("/bin/sh")) == "dash"
