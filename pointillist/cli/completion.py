"""``completion``: a script for the shell, and what it asks for: commands, options, names of operations, ids of jobs.

The script calls the project file again in the form of argcomplete whenever somebody presses the tab key. Nothing of
this is loaded otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pointillist.errors import EXIT_OK

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  source <(python project.py completion)          now, in bash or zsh
  python project.py completion >> ~/.bashrc       in every bash
  python project.py completion zsh >> ~/.zshrc    in every zsh
"""

ASKED = "_ARGCOMPLETE"
"""Set in the environment by the script when it wants an answer."""

MOST_IDS = 200

FEW_JOBS = 500
"""Reading the state points of so many jobs is faster than anybody notices."""

BASH = """\
# Completes `python FILE.py` where the file is a study of pointillist; any other command line as before.
_pointillist() {
    COMPREPLY=()
    local file=${COMP_WORDS[1]-}
    [[ $COMP_CWORD -ge 2 && -f $file && $(head -c 65536 -- "$file") == *pointillist* ]] || return 0
    local IFS=$'\\013'
    COMPREPLY=($(IFS=$'\\013' COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" COMP_TYPE="$COMP_TYPE" \\
        _ARGCOMPLETE_COMP_WORDBREAKS="$COMP_WORDBREAKS" _ARGCOMPLETE=2 _ARGCOMPLETE_SHELL=bash \\
        "$1" "$file" 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null))
}
complete -o default -o bashdefault -F _pointillist python python3
"""

ZSH = """\
# Completes `python FILE.py` where the file is a study of pointillist; any other command line as before.
_pointillist() {
    local file=${words[2]}
    if [[ $CURRENT -ge 3 && -f $file && "$(head -c 65536 -- "$file")" == *pointillist* ]]; then
        local -a answers
        answers=("${(@ps:\\013:)$(IFS=$'\\013' COMP_LINE="$BUFFER" COMP_POINT="$CURSOR" _ARGCOMPLETE=2 \\
            _ARGCOMPLETE_SHELL=bash "${words[1]}" "$file" 8>&1 9>/dev/null 1>/dev/null 2>&1 </dev/null)}")
        compadd -- "${(@)answers%% }"
    elif (( $+functions[_python] )); then
        _python "$@"
    else
        _default
    fi
}
compdef _pointillist python python3
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("shell", nargs="?", choices=["bash", "zsh"], help="by default the one of this terminal")


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Print the script."""
    shell = arguments.shell or ("zsh" if os.environ.get("SHELL", "").endswith("zsh") else "bash")
    sys.stdout.write(ZSH if shell == "zsh" else BASH)
    return EXIT_OK


def words_so_far() -> list[str]:
    """Return the words of the line that is being written, behind the project file."""
    line = os.environ.get("COMP_LINE", "")[: int(os.environ.get("COMP_POINT", "0"))]
    for end in ("", "'", '"'):  # within quotes that are not closed yet
        try:
            return shlex.split(line + end)[int(os.environ[ASKED]) :]
        except ValueError:
            continue
    return []


def answer(project: Study, parser: argparse.ArgumentParser) -> None:
    """Answer the script and end this process."""
    import argcomplete

    # An error of ours would be of no use to somebody who pressed a key.
    for action in _actions(parser):
        if action.dest in ("operation", "name"):
            action.completer = lambda **_: list(project.groups)
        elif action.dest in ("job_id", "ids"):
            action.completer = lambda prefix, **_: _ids(project, prefix)
    argcomplete.autocomplete(parser, always_complete_options=True)


def _ids(project: Study, prefix: str) -> list[str]:
    """Return the ids of jobs and aggregates that begin so: as many as anybody would look at.

    Jobs cost one look at the folder. For aggregates the state points must be read: of many jobs only when it is clear
    that an aggregate is wanted.
    """
    try:
        jobs = [name for name in os.listdir(project.workspace) if len(name) == 32]
    except OSError:
        return []
    found = {name for name in jobs if name.startswith(prefix)}
    if prefix.startswith("agg") or ("agg-".startswith(prefix) and len(jobs) <= FEW_JOBS):
        found.update(name for name in _aggregate_ids(project) if name.startswith(prefix))
    return sorted(found, key=lambda name: (len(name) == 32, name))[:MOST_IDS]


def _aggregate_ids(project: Study) -> Iterator[str]:
    """Yield the ids of the aggregates of all operations on several jobs."""
    several = [one for one in project.definition.operations.values() if not one.aggregator.is_single]
    if not several:
        return
    workspace = project.read_workspace()
    for operation in several:
        with contextlib.suppress(Exception):  # `status` says what is wrong with it
            for aggregate in operation.aggregator.aggregates(workspace, workspace.job_ids):
                yield aggregate.id


def _actions(parser: argparse.ArgumentParser) -> Iterator[Any]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _actions(command)
