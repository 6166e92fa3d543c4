"""``reproduce``: make finished jobs again in a scratch folder and compare every file."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import secrets
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pointillist.cli.arguments import count
from pointillist.cli.documents import add_json
from pointillist.cli.selectors import add_selectors, selected
from pointillist.cli.tables import Cell, Styled, Table, has_colour, render
from pointillist.errors import EXIT_FAILED, EXIT_OK, PointillistError
from pointillist.execution.planning import chosen_definition
from pointillist.sharing.reproduction import (
    GOOD,
    OUTSIDE,
    Reproduced,
    Verdict,
    choose_jobs,
    operations_needed,
    reproduce,
)
from pointillist.sharing.scratch import make_scratch
from pointillist.wording import counted

if TYPE_CHECKING:
    from pointillist.study import Study

EXAMPLES = """\
  python project.py reproduce --sample 3      three finished jobs, drawn at random
  python project.py reproduce -j 3f2a         one job
  python project.py reproduce --parallel      all of them, and what the study makes of all of them
"""

SCHEMA = "pointillist/reproduce/1"
SHOWN_LINES = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_selectors(parser)
    parser.add_argument("--sample", type=count, metavar="K", help="K of the finished jobs, drawn at random")
    parser.add_argument("--seed", type=int, metavar="S", help="of the drawing; by default a new one, which is told")
    parser.add_argument("-p", "--parallel", nargs="?", const="", metavar="N", help="as for `run`")
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder, and say where it is")
    parser.add_argument(
        "--scratch", metavar="DIR", help="where to make the scratch folder (default: beside temporary files)"
    )
    add_json(parser)


def run(project: Study, arguments: argparse.Namespace) -> int:
    """Make jobs again and compare."""
    plan = project.plan()
    selection = selected(project, plan, arguments)
    operations = list(plan.definition.operations.values())
    chosen = chosen_definition(project, arguments.operation, may_overlap=True).operations
    everything = arguments.operation is arguments.job_id is arguments.filter is arguments.sample is None
    names = operations_needed(operations, chosen, everything=everything)
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    job_ids, n_finished = choose_jobs(plan, chosen, selection.aggregate_ids, arguments.sample, seed)
    # Jobs that are not finished are in what the study makes of all of them, so that can't be compared.
    whole = everything and n_finished == len(plan.workspace.job_ids)
    if everything and not whole:
        names = operations_needed(operations, chosen, everything=False)
    begun = datetime.datetime.now(datetime.UTC)
    clock = time.monotonic()
    if arguments.scratch is not None and not os.path.isdir(arguments.scratch):
        raise PointillistError(f"There is no folder {arguments.scratch} to make the scratch folder in.")
    folder = Path(tempfile.mkdtemp(prefix="reproduce-", dir=arguments.scratch))
    try:
        reproduced = _made_again(project, arguments, folder, job_ids, names, whole=whole)
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    statement = {
        "schema": SCHEMA,
        "reproduced": reproduced.is_good,
        "started": begun.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "wall_s": round(time.monotonic() - clock, 1),
        "where": _where(),
        "jobs": job_ids,
        "finished_jobs": n_finished,
        "sample_seed": seed if arguments.sample is not None else None,
        "operations": names,
        "failures": reproduced.failures,
        "files": [finding.as_json() for finding in reproduced.findings],
    }
    path = _write(project, statement, begun)
    if arguments.json:
        print(json.dumps(statement, indent=2))
    else:
        _print(reproduced, statement)
        print(f"This statement, for programs: {os.path.relpath(path)}")
    if arguments.keep:
        print(f"The scratch folder is {folder}", file=sys.stderr)
    return EXIT_OK if reproduced.is_good else EXIT_FAILED


def _made_again(
    project: Study, arguments: argparse.Namespace, folder: Path, job_ids: list[str], names: list[str], *, whole: bool
) -> Reproduced:
    """Make jobs again in a folder, and compare."""
    root, declared = Path(project.path), project.reproduction
    entrypoint = Path(project._entrypoint.get("path", "project.py"))
    return reproduce(
        make_scratch(root, entrypoint, job_ids, declared, folder),
        root,
        job_ids,
        names,
        declared,
        run_options=[] if arguments.parallel is None else ["--parallel", *filter(None, [arguments.parallel])],
        whole=whole,
        partial=arguments.operation is not None,
        endless=[name for name in names if not project.operations[name].post],
        told=lambda name: print(f"making again: {name}", file=sys.stderr, flush=True),
    )


def _where() -> dict[str, str]:
    """Return the machine and the versions of what makes things again."""
    from importlib import metadata

    from pointillist import __version__

    return {
        "host": platform.node(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pointillist": __version__,
        "signac": metadata.version("signac"),
    }


def _write(project: Study, statement: dict[str, Any], begun: datetime.datetime) -> Path:
    """Keep the statement with the history of the project."""
    folder = Path(project.state_folder) / "reproductions"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{begun:%Y%m%dT%H%M%S%fZ}.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(statement, indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return path


def _print(reproduced: Reproduced, statement: dict[str, Any]) -> None:
    rows: list[list[Cell]] = []
    for finding in reproduced.findings:
        style = "green" if finding.verdict is Verdict.IDENTICAL else "yellow" if finding.verdict in GOOD else "red"
        text = finding.verdict.value + (f" ({finding.note})" if finding.note else "")
        job = finding.job_id if finding.job_id == OUTSIDE else finding.job_id[:8]
        rows.append([job, finding.operation, finding.file or OUTSIDE, Styled(text, style)])
    if rows:
        print(render([Table(["job", "operation", "file", "verdict"], rows)], colour=has_colour(sys.stdout)))
        print()
    for name, said in reproduced.failures.items():
        print(f"{name} did not come through. Its last lines:")
        print("".join(f"    {line}\n" for line in said.splitlines()[-SHOWN_LINES:]), end="")
    counts = Counter(finding.verdict for finding in reproduced.findings)
    jobs, seed = statement["jobs"], statement["sample_seed"]
    drawn = f", drawn with seed {seed}," if seed is not None else ""
    print(
        f"{len(jobs)} of {counted(statement['finished_jobs'], 'finished job')}{drawn} made again"
        f" in {statement['wall_s']:.1f} s: ",
        end="",
    )
    print(", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]) or "no file")
    print(_machines(reproduced))
    where = statement["where"]
    print(
        f"On {where['host']}, {where['system']}, Python {where['python']}, pointillist {where['pointillist']}, "
        f"signac {where['signac']}; begun {statement['started']}"
    )
    print("REPRODUCED" if reproduced.is_good else "NOT REPRODUCED")


def _machines(reproduced: Reproduced) -> str:
    same = Counter(finding.same_machine for finding in reproduced.findings if finding.file)
    if not same[True] and not same[False]:
        return "Compared byte by byte."
    texts = {True: "same fingerprint", False: "another fingerprint", None: "not known"}
    return "The machine of the originals: " + ", ".join(
        f"{texts[answer]} for {counted(same[answer], 'file')}" for answer in (True, False, None) if same[answer]
    )
