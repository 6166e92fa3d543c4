"""``export``: pack the whole study into one archive, with metadata."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pointillist.errors import EXIT_OK
from pointillist.sharing.exporting import DamagedError, export
from pointillist.sharing.packing import SUFFIXES
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py export ../study.zip
  python -m pointillist import study.zip FOLDER      elsewhere
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("archive", metavar="ARCHIVE", help=f"the file to write: {', '.join(SUFFIXES)}")
    parser.add_argument(
        "--force", action="store_true", help="pack job folders that are not what their records say all the same"
    )


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Write an archive."""
    path = Path(arguments.archive)
    try:
        collected = export(project, path, damaged=arguments.force)
    except DamagedError as error:
        _tell(error.problems)
        raise
    _tell(collected.problems)
    for name in collected.left_out:
        print(f"Left out: {name}", file=sys.stderr)
    if not collected.has_author:
        print("No author is named. One in CITATION.cff beside project.py goes into the metadata.", file=sys.stderr)
    n_jobs = len({name.split("/")[1] for name in collected.files if name.startswith("workspace/")})
    size_mb = os.path.getsize(path) / 1e6
    print(f"{path}: {counted(len(collected.files), 'file')}, {counted(n_jobs, 'job')}, {size_mb:.1f} MB")
    return EXIT_OK


def _tell(problems: Mapping[str, Sequence[str]]) -> None:
    for job_id, sentences in problems.items():
        for sentence in sentences:
            print(f"{job_id}: {sentence}", file=sys.stderr)
