"""``python -m pointillist``: begin a study. What to do with one is ``python project.py --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pointillist import __version__
from pointillist.cli import import_
from pointillist.cli.starters import STARTERS
from pointillist.errors import EXIT_USAGE, PointillistError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pointillist", description="Begin a study.")
    parser.add_argument("--version", action="version", version=f"pointillist {__version__}")
    parser.add_argument("--debug", action="store_true", help="show full tracebacks")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    init = commands.add_parser("init", help="write project.py and init.py, and make a signac project")
    init.add_argument("alias", nargs="?", help="name of the project file, without .py")
    init.add_argument("-t", "--template", choices=sorted(STARTERS), default="minimal", help="what to begin with")
    template = commands.add_parser("template", help="write a template of your own for cluster scripts")
    template.add_argument("action", choices=["create"])
    template.add_argument("-e", "--extends", metavar="BASE", help="the template to extend, for instance slurm.sh")
    template.add_argument("-n", "--name", help="file name; by default script.sh")
    unpack = commands.add_parser("import", help="unpack the archive of a study into a new folder, verified")
    import_.add_arguments(unpack)
    arguments = parser.parse_args(argv)
    try:
        if arguments.command == "init":
            from pointillist.cli.init import init as write

            for path in write(arguments.alias, arguments.template):
                print(f"Wrote {path}", file=sys.stderr)
            print("Next: python init.py, then python project.py status", file=sys.stderr)
        elif arguments.command == "template":
            from pointillist.cli.init import create_script_template

            print(f"Wrote {create_script_template(arguments.extends, arguments.name)}", file=sys.stderr)
        elif arguments.command == "import":
            return import_.run(None, arguments)
        else:
            parser.print_usage(sys.stderr)
            return EXIT_USAGE
    except (PointillistError, OSError, ValueError) as error:
        if arguments.debug:
            raise
        print(f"Error: {error}", file=sys.stderr)
        if isinstance(error, PointillistError) and error.hint:
            print(error.hint, file=sys.stderr)
        return error.exit_code if isinstance(error, PointillistError) else EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
