"""``main``, by which a project file becomes a program."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from pointillist.errors import PointillistError

if TYPE_CHECKING:
    import argparse

    from pointillist.study import Study


class Main:
    """``main``, of a project or of its class.

    ``Project.main()`` finds the signac project where the file that calls it lies, so that the file works from any
    current folder, and says in a sentence when there is none; ``Project(...).main()`` runs the project at hand.
    """

    def __get__(self, project: Study | None, cls: type[Study]) -> Callable[..., NoReturn]:
        def main(parser: argparse.ArgumentParser | None = None) -> NoReturn:
            """Run the command line and exit.

            Parameters
            ----------
            parser
                A parser of the user's own to add the commands to.
            """
            from pointillist.cli.main import main, report

            path = os.path.realpath(sys._getframe(1).f_code.co_filename)
            try:
                chosen = project if project is not None else cls.get_project(os.path.dirname(path))
            except PointillistError as error:
                sys.exit(report(error))
            chosen._entrypoint = {"executable": sys.executable, "path": path} | chosen._entrypoint
            # What is loaded by now stays: no collection of garbage, and not the end of Python, needs to look at it.
            gc.freeze()
            sys.exit(main(chosen, parser))

        return main
