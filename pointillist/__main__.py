"""``python -m pointillist``: begin a study. What to do with one is ``python project.py --help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pointillist import __version__
from pointillist.cli import import_
from pointillist.cli.main import COMMANDS
from pointillist.cli.starters import STARTERS
from pointillist.errors import EXIT_USAGE, PointillistError
from pointillist.wording import counted


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
    trial = commands.add_parser("test-workflow", help="write a study that asks for all of a machine, with its jobs")
    trial.add_argument("-c", "--num-cpus", type=int, default=2, metavar="N", help="cores of a node")
    trial.add_argument("-g", "--num-gpus", type=int, default=0, metavar="N", help="GPUs of a node")
    trial.add_argument("-n", "--num-jobs", type=int, default=10, metavar="N", help="jobs to make")
    words = sys.argv[1:] if argv is None else list(argv)
    if words and words[0] in COMMANDS and words[0] not in commands.choices:
        print(f"Error: {words[0]} is a command of a project: python project.py {words[0]}", file=sys.stderr)
        return EXIT_USAGE
    arguments = parser.parse_args(words)
    try:
        if arguments.command == "init":
            from pointillist.cli.init import init as write

            for path in write(arguments.alias, arguments.template):
                print(f"Wrote {path}", file=sys.stderr)
            print("Next: python init.py, then python project.py status", file=sys.stderr)
        elif arguments.command == "test-workflow":
            _test_workflow(arguments)
        elif arguments.command == "template":
            from pointillist.cli.init import create_script_template

            path, base = create_script_template(arguments.extends, arguments.name)
            print(f"Created user script template at '{path}' extending the template '{base}'.", file=sys.stderr)
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


def _test_workflow(arguments: argparse.Namespace) -> None:
    from pointillist.cli.init import write_files
    from pointillist.cli.starters import trial as files_of_trial
    from pointillist.definition.grid import grid
    from pointillist.state.making import make_jobs

    counts = {"cpus": arguments.num_cpus, "jobs": arguments.num_jobs}
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"--num-{name} can't be {count}: it must be at least 1.")
    if arguments.num_gpus < 0:
        raise ValueError(f"--num-gpus can't be {arguments.num_gpus}: it must not be negative.")
    files = files_of_trial(cores=arguments.num_cpus, gpus=arguments.num_gpus, jobs=arguments.num_jobs)
    for path in write_files(files):
        print(f"Wrote {path}", file=sys.stderr)
    import signac

    made = make_jobs(signac.get_project(search=False), grid(number=range(arguments.num_jobs)))
    print(f"Made {counted(made.new, 'job')}.", file=sys.stderr)
    print("Next: python project.py submit --pretend", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
