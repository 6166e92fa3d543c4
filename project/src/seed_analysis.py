"""From the results of all finished jobs to the table of means and standard deviations over seeds.

CHANGE HERE: ``METRICS`` names the columns of the table and where each comes from.

The table is a function of the job folders: it is always written anew from all of them, whole or not at all. Several
processes may write it at once; each takes its turn.
"""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from src.parameters import PARAMETERS
from src.tables import as_csv, as_parquet, as_text

from plmnist.config import OPTIONAL, Configuration
from plmnist.errors import PlmnistError, ResultError
from plmnist.measurements import Measurement, measurements
from plmnist.provenance import Making, recording
from plmnist.results import write_atomically
from plmnist.statistics import OverSeeds, over_seeds, wilson
from pointillist.definition.grid import JOB_ID, STATEPOINT, statepoint_id

TABLE = "output_avg_std_of_seed_txt_filename"
INDEX = "output_seed_analysis.json"

UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, PlmnistError)
"""What reading a folder raises that is missing a file, or holds one that was cut off, damaged or edited."""

MEND = "plmnist verify workspace/* names the damaged files. Remove them and run again."

# What the provenance of table and report names besides the results they are made from.
MADE_BY: dict[str, Any] = {"code": Path(__file__).parent, "packages": ("pandas", "pyarrow", "scipy", "jinja2")}

# Name of the column -> the attack, at the job's own epsilon, and what is measured.
METRICS = {
    "test_acc": ("none", "test_acc"),
    "test_loss": ("none", "test_loss"),
    "val_acc": ("none", "val_acc"),
    "val_loss": ("none", "val_loss"),
    "fgsm_acc": ("fgsm", "test_acc"),
}


@dataclass(frozen=True)
class FinishedJob:
    """A job that is trained and attacked: its parameters with the seed, its results, and a hash of them."""

    id: str
    digest: str
    parameters: dict[str, Any]
    results: dict[str, Measurement]

    @property
    def combination(self) -> tuple[Any, ...]:
        """Everything but the seed."""
        return tuple(self.parameters[name] for name in PARAMETERS)


def write_analysis(workspace: Path, analysis: Path) -> None:
    """Write the table as text, CSV and Parquet, and the figures, from all finished jobs in a workspace.

    Raises
    ------
    ResultError
        At the end, if there are jobs that can't be read: they are left out, and named here.
    """
    analysis.mkdir(exist_ok=True)
    with open(analysis / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with recording(analysis, "seed_analysis", **MADE_BY) as making:
            jobs, broken = finished_jobs(workspace)
            _write(jobs, analysis, making)
        # Last: the jobs it names are in the table, the figures and the provenance.
        write_index(analysis, INDEX, making)
    if broken:
        sentences = "; ".join(f"{name}: {reason}" for name, reason in broken.items())
        raise ResultError(f"the table leaves out what can't be read: {sentences}", hint=MEND)


def _write(jobs: Sequence[FinishedJob], analysis: Path, making: Making) -> None:
    from src.figures import draw_figures

    digests = {job.id: job.digest for job in jobs}
    index = read_index(analysis, INDEX)
    if index is not None and index["jobs"] == digests:
        return  # another process has had its turn meanwhile
    groups = by_combination(jobs)
    tables = {
        f"{TABLE}.txt": as_text(seed_table(groups)).encode(),
        f"{TABLE}.csv": as_csv(full_table(groups)).encode(),
        f"{TABLE}.parquet": as_parquet(full_table(groups)),
    }
    for name, content in tables.items():
        write_atomically(analysis / name, content)
    figures = draw_figures([_drawable(group) for group in groups], analysis / "figures")
    making.inputs["results_sha256"] = digests
    making.outputs = [*tables, *(str(path.relative_to(analysis)) for path in figures)]


def is_up_to_date(analysis: Path, jobs: Iterable[Any]) -> bool:
    """Say whether the table and figures are there, made from the present results of these signac jobs."""
    index = read_index(analysis, INDEX)
    try:
        return index is not None and all(index["jobs"].get(job.id) == digest_of(Path(job.path)) for job in jobs)
    except OSError:
        return False


def read_index(analysis: Path, name: str) -> dict[str, Any] | None:
    """Return what some files were made from, as noted beside them; None when one of them is missing or cut off."""
    try:
        index: dict[str, Any] = json.loads((analysis / name).read_bytes())
        are_whole = all((analysis / file).stat().st_size == size for file, size in index["bytes"].items())
    except (OSError, ValueError, KeyError):
        return None
    return index if are_whole else None


def write_index(analysis: Path, name: str, making: Making) -> None:
    """Note from which results, by job, files were made; remove those that were made before and are no more."""
    if not making.outputs:
        return
    index = {
        "jobs": making.inputs["results_sha256"],
        "bytes": {file: (analysis / file).stat().st_size for file in making.outputs},
    }
    with contextlib.suppress(OSError, ValueError, KeyError):
        for former in json.loads((analysis / name).read_bytes())["bytes"].keys() - index["bytes"].keys():
            (analysis / former).unlink(missing_ok=True)
    write_atomically(analysis / name, (json.dumps(index, indent=1, sort_keys=True) + "\n").encode())


def job_folders(workspace: Path) -> list[Path]:
    """Return the folders that signac takes for jobs, by their names; a copy that somebody has put aside is none."""
    return sorted(path for path in workspace.iterdir() if JOB_ID.fullmatch(path.name))


def finished_jobs(workspace: Path) -> tuple[list[FinishedJob], dict[str, str]]:
    """Read all jobs that are trained and attacked, sorted by their parameters; of those that can't be read say why."""
    jobs: list[FinishedJob] = []
    broken: dict[str, str] = {}
    for folder in job_folders(workspace):
        try:
            if (folder / "fgsm.json").exists():
                jobs.append(_finished_job(folder))
        except UNREADABLE as error:
            broken[folder.name] = reason_of(error, folder)
    return sorted(jobs, key=lambda job: (job.combination, job.parameters["seed"])), broken


def _finished_job(folder: Path) -> FinishedJob:
    config = configuration_of(folder)
    found = measurements(folder, worst_case=False)
    own = {(m.attack, m.metric): m for m in found if m.epsilon in (0.0, config.fgsm_epsilon)}
    for attack, metric in METRICS.values():
        if (attack, metric) not in own:
            raise ResultError(f"{attack}.json has no {metric} of this network at epsilon {config.fgsm_epsilon:g}")
    results = {name: own[source] for name, source in METRICS.items()}
    return FinishedJob(folder.name, digest_of(folder), asdict(config), results)


def configuration_of(folder: Path) -> Configuration:
    """Return the parameters of a job, by whose hash its folder is named: edited ones are those of no network here."""
    statepoint = json.loads((folder / STATEPOINT).read_bytes())
    if statepoint_id(statepoint) != folder.name:
        raise ResultError(f"{STATEPOINT} does not belong to this folder (its id differs)")
    return Configuration.from_mapping(statepoint)


def reason_of(error: Exception, folder: Path) -> str:
    """Return in a sentence why a folder can't be read; where the study lies is no result."""
    reason: str = getattr(error, "one_line", None) or f"{type(error).__name__}: {error}"
    return reason.replace(f"{folder}/", "")


def digest_of(folder: Path) -> str:
    """Return a hash of a job's results; fgsm.json names the hash of the network it attacked."""
    return hashlib.sha256((folder / "train.json").read_bytes() + (folder / "fgsm.json").read_bytes()).hexdigest()


def by_combination(jobs: Iterable[FinishedJob]) -> list[list[FinishedJob]]:
    """Return the jobs that differ in their seed only, as one group for each combination of parameters."""
    groups: dict[tuple[Any, ...], list[FinishedJob]] = {}
    for job in jobs:
        groups.setdefault(job.combination, []).append(job)
    return list(groups.values())


def seed_table(groups: Sequence[Sequence[FinishedJob]]) -> list[dict[str, Any]]:
    """Return one row for each combination: n, and mean and standard deviation (n - 1) over seeds.

    One seed has no standard deviation: None. Optional parameters have a column when one of them is used.
    """
    used = [
        name
        for name in PARAMETERS
        if name not in OPTIONAL or any(job.parameters[name] != OPTIONAL[name] for group in groups for job in group)
    ]
    rows = []
    for group in groups:
        row = {name: group[0].parameters[name] for name in used} | {"n": len(group)}
        for metric in METRICS:
            found = _over_seeds(group, metric)
            row |= {f"{metric}_avg": found.mean, f"{metric}_std": found.sd}
        rows.append(row)
    return rows


def full_table(groups: Sequence[Sequence[FinishedJob]]) -> list[dict[str, Any]]:
    """Return the rows of the table with all that statistics say.

    Besides the columns of the text: the seeds; for each metric its value for each seed (``_by_seed``), the 95 % t
    interval over seeds (``_ci95_low``, ``_ci95_high``), and, for a share, the error that comes from the finite test or
    validation set: half the width of Wilson's 95 % interval for a single network, the widest among the seeds
    (``_sampling_ci95``). The two say different things and are never added up.
    """
    rows = []
    for group in groups:
        row = {name: group[0].parameters[name] for name in PARAMETERS} | {"n": len(group)}
        row["seeds"] = sorted(job.parameters["seed"] for job in group)
        for metric in METRICS:
            found = _over_seeds(group, metric)
            low, high = found.interval or (None, None)
            row |= {f"{metric}_avg": found.mean, f"{metric}_std": found.sd}
            row |= {f"{metric}_ci95_low": low, f"{metric}_ci95_high": high}
            counts = [job.results[metric] for job in group]
            if counts[0].numerator is not None:
                row[f"{metric}_sampling_ci95"] = max(wilson(c.numerator, c.denominator).half_width for c in counts)
            row[f"{metric}_by_seed"] = list(found.values.values())
        rows.append(row)
    return rows


def _over_seeds(group: Sequence[FinishedJob], metric: str) -> OverSeeds:
    return over_seeds({job.parameters["seed"]: job.results[metric].value for job in group})


def _drawable(group: Sequence[FinishedJob]) -> dict[str, Any]:
    parameters = {name: group[0].parameters[name] for name in PARAMETERS}
    return parameters | {metric: _over_seeds(group, metric) for metric in METRICS}
