"""``import``: unpack the archive of a study into a new folder, verified."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pointillist.errors import EXIT_OK
from pointillist.sharing.packing import unpack
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py import study.zip ../study-of-a-colleague
  python -m pointillist import study.zip FOLDER              where there is no project yet
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("archive", metavar="ARCHIVE", help="a file that `export` has written")
    parser.add_argument("folder", metavar="FOLDER", help="the folder to make; nothing that is there is touched")


def run(project: Study | None, arguments: argparse.Namespace) -> int:
    """Unpack an archive."""
    target = Path(arguments.folder)
    names = unpack(Path(arguments.archive), target)
    n_jobs = len({name.split("/")[1] for name in names if name.startswith("workspace/")})
    found = f"{counted(len(names), 'file')} verified, {counted(n_jobs, 'job')}"
    print(f"{target}: {found}. Next: cd there, python project.py status")
    return EXIT_OK
