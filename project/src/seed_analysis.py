"""From the results of all finished jobs to the table of means and standard deviations over seeds.

CHANGE HERE: ``METRICS`` names the columns of the table and where each comes from.

The table is a function of the job folders: it is always written anew from all of them, whole or not at all. Several
processes may write it at once; each takes its turn.
"""

import csv
import fcntl
import hashlib
import io
import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from plmnist.config import OPTIONAL, REQUIRED
from plmnist.results import write_atomically

TABLE = "output_avg_std_of_seed_txt_filename"
INDEX = "output_seed_analysis.json"
PARAMETERS = [name for name in (*REQUIRED, *OPTIONAL) if name != "seed"]

METRICS = {
    "test_acc": lambda train, fgsm: train["test_acc"],
    "test_loss": lambda train, fgsm: train["test_loss"],
    "val_acc": lambda train, fgsm: train["val_acc"],
    "val_loss": lambda train, fgsm: train["val_loss"],
    "fgsm_acc": lambda train, fgsm: fgsm["fgsm_acc"],
}


def write_analysis(workspace: Path, analysis: Path) -> None:
    """Write the table as text and CSV, and the figures, from all finished jobs in a workspace."""
    from src.figures import draw_figures

    analysis.mkdir(exist_ok=True)
    with open(analysis / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        jobs = finished_jobs(workspace)
        digests = {job["id"]: job["digest"] for job in jobs}
        index = _read_index(analysis)
        if index is not None and index["jobs"] == digests:
            return  # another process has had its turn meanwhile
        rows = seed_table(jobs)
        write_atomically(analysis / f"{TABLE}.txt", aligned(rows).encode())
        write_atomically(analysis / f"{TABLE}.csv", as_csv(rows).encode())
        files = [analysis / f"{TABLE}.txt", analysis / f"{TABLE}.csv", *draw_figures(jobs, rows, analysis / "figures")]
        # Last: the jobs it names are in the table and in the figures.
        index = {
            "jobs": digests,
            "bytes": {str(path.relative_to(analysis)): path.stat().st_size for path in files},
        }
        write_atomically(analysis / INDEX, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


def is_up_to_date(analysis: Path, jobs: Iterable[Any]) -> bool:
    """Say whether the table and figures are there, made from the present results of these signac jobs."""
    index = _read_index(analysis)
    try:
        return index is not None and all(index["jobs"].get(job.id) == digest_of(Path(job.path)) for job in jobs)
    except OSError:
        return False


def _read_index(analysis: Path) -> dict[str, Any] | None:
    """Return which results the table and figures were made from; None when a file of theirs is missing or cut off."""
    try:
        index: dict[str, Any] = json.loads((analysis / INDEX).read_bytes())
        are_whole = all((analysis / name).stat().st_size == size for name, size in index["bytes"].items())
    except (OSError, ValueError, KeyError):
        return None
    return index if are_whole else None


def finished_jobs(workspace: Path) -> list[dict[str, Any]]:
    """Read all jobs that are trained and attacked, sorted by their parameters.

    Returns
    -------
    list of dict
        ``id``, ``digest`` and ``seed``, the parameters, and one value for each metric.
    """
    jobs = []
    for path in workspace.glob("*/fgsm.json"):
        folder = path.parent
        statepoint, train, fgsm = (
            json.loads((folder / name).read_bytes()) for name in ("signac_statepoint.json", "train.json", "fgsm.json")
        )
        metrics = {name: float(value(train, fgsm)) for name, value in METRICS.items()}
        jobs.append({"id": folder.name, "digest": digest_of(folder), **OPTIONAL, **statepoint, **metrics})
    return sorted(jobs, key=lambda job: [job[name] for name in [*PARAMETERS, "seed"]])


def digest_of(folder: Path) -> str:
    """Return a hash of a job's results; fgsm.json names the hash of the network it attacked."""
    return hashlib.sha256((folder / "train.json").read_bytes() + (folder / "fgsm.json").read_bytes()).hexdigest()


def seed_table(jobs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for each combination of parameters: n, and mean and standard deviation (n - 1) over seeds.

    One seed has no standard deviation: None. An optional parameter has a column if a job departs from its default.
    """
    parameters = [n for n in PARAMETERS if n not in OPTIONAL or any(job[n] != OPTIONAL[n] for job in jobs)]
    combinations: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for job in jobs:
        combinations.setdefault(tuple(job[name] for name in parameters), []).append(job)
    rows = []
    for combination, members in combinations.items():
        row = dict(zip(parameters, combination, strict=True)) | {"n": len(members)}
        for metric in METRICS:
            values = [job[metric] for job in members]
            row[f"{metric}_avg"] = statistics.fmean(values)
            row[f"{metric}_std"] = statistics.stdev(values) if len(values) > 1 else None
        rows.append(row)
    return rows


def aligned(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as text in aligned columns; an empty cell is a dash."""
    header = list(rows[0]) if rows else []
    cells = [header, *([_text(name, value) for name, value in row.items()] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    return "".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + "\n" for line in cells
    )


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return the table as CSV in full precision; an empty cell is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _text(name: str, value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.6f}" if name.endswith(("_avg", "_std")) else str(value)
