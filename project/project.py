#!/usr/bin/env python3
"""The study: six parts from the job document to a report.

    python project.py status
    python project.py run --parallel
    python project.py explain -o part_3_train_and_test_command

Each part is an operation: what must hold before (``pre``), what holds when it is done (``post``), and the work.
"""

import shlex
import sys
from pathlib import Path

import hpc_setup  # noqa: F401 - a cluster is known by being defined
from src import archive, report, seed_analysis

from plmnist.comparison import COMPARATORS, leave_derived
from plmnist.config import OPTIONAL, REQUIRED
from plmnist.data import is_available
from plmnist.provenance import code_of_file, fingerprint_of_file
from plmnist.verification import outdated
from pointillist import FlowProject, aggregator, has_keys, isfile

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
ALL_BUT_SEED = [name for name in (*REQUIRED, *OPTIONAL) if name != "seed"]
DEFAULTS = [OPTIONAL.get(name) for name in ALL_BUT_SEED]


class Project(FlowProject):
    """The study of how training parameters change a small network's robustness to attacks."""


# Data are used in place, and results come out byte for byte, except on another machine: there within a tolerance.
Project.reproducible(
    share=["data"],
    made=[f"analysis/{name}*" for name in ("output", "figures", "report", "measurements", "differences", "provenance")],
    # The report tells of times, so its size, which its index holds, is another each time.
    ignore=["provenance/*", "analysis/provenance/*", "analysis/report*", "analysis/output_report.json"],
    compare={**COMPARATORS, "analysis/*": leave_derived},
    fingerprint=fingerprint_of_file,
    code=code_of_file,
    verify=archive.problems,
    outdated=outdated,
)

# CHANGE HERE: what the archive of the study says of itself, where no CITATION.cff beside this file does.
Project.archived(
    about={
        "name": "Training parameters and adversarial robustness",
        "description": "Small networks trained on images, in the standard way and against attacks, with several "
        "parameters and seeds; attacked with FGSM and PGD, and with noise as the control.",
        "license": "https://spdx.org/licenses/BSD-3-Clause",
    },
    results={
        "part_3_train_and_test_command": ["model.safetensors", "history.csv", "train.json", "provenance/train.json"],
        "part_4_fgsm_attack_command": ["fgsm*", "provenance/fgsm.json"],
        "part_4_control_attacks_command": ["pgd*", "noise*", "provenance/pgd.json", "provenance/noise.json"],
        "part_4_checks_command": ["checks.json", "provenance/checks.json"],
        "part_5_seed_analysis_command": [
            "analysis/output*",
            "analysis/figures/*_accuracy_by_*",
            "analysis/provenance/seed_analysis.json",
        ],
        "part_6_report_command": [
            "analysis/report*",
            "analysis/measurements*",
            "analysis/differences*",
            "analysis/provenance/report.json",
        ],
    },
    files=archive.files,
    entities=archive.entities,
)


def plmnist(command: str, jobs: tuple, *options: str) -> str:
    """Return the shell line that works through the folders of some jobs in one process.

    Paths are relative to this folder, where the engine runs every command, so the line works after a move.
    """
    words = [sys.executable, "-m", "plmnist", command, "--config-name", "signac_statepoint.json", *options]
    folders = [f"workspace/{job.id}" for job in jobs]
    # The engine follows a batch by the report; run by hand, the line goes without.
    return f'{shlex.join(words)} --report "${{POINTILLIST_REPORT:-}}" {shlex.join(folders)}'


# CHANGE HERE: seconds that one core takes for a network, at least three times what was measured on MNIST. Attacks
# end at images that are fooled; the times are those of a network that withstands.
SECONDS = {
    "mlp": {"epoch": 1, "fgsm": 2, "controls": 20, "checks": 10},
    "cnn": {"epoch": 180, "fgsm": 150, "controls": 1200, "checks": 450},
}
# Adversarial training attacks every image before it learns from it.
TIMES = {"standard": 1, "fgsm": 2.5, "pgd": 8}
START = 60  # of a process, on a slow file system


def hours(part: str):
    """Return a function that says about how long a part takes for some jobs, in hours, start of the process included.

    It decides how a batch is shared out over processes, and how much time a cluster job asks for.
    """

    def estimate(*jobs) -> float:
        total = 0.0
        for job in jobs:
            point = OPTIONAL | dict(job.sp)
            seconds = SECONDS[point["network"]]
            if part == "training":
                total += START + point["num_epochs"] * seconds["epoch"] * TIMES[point["training"]]
            else:
                total += START + seconds[part]
        return total / 3600

    return estimate


# --- Part 1: the job document ----------------------------------------------------------------------------------------

part_1_initialize_signac_completed = Project.label("part_1_initialize_signac_completed")(
    has_keys("signac_job_document.json", REQUIRED)
)


@Project.post(part_1_initialize_signac_completed)
@Project.operation
def part_1_initialize_signac_command(job):
    """Write the job document from the state point. CHANGE HERE to note more about a job, for later searches."""
    job.document.update(job.statepoint())


# --- Part 2: the data sets, once for the whole study -----------------------------------------------------------------


@Project.label
def part_2_download_data_completed(*jobs):
    """Say whether the data sets that unfinished jobs need are there; their content is verified when they are read."""
    return all(is_available(name, DATA) for name in {job.sp.dataset for job in jobs if not job.isfile("fgsm.json")})


@Project.pre(part_1_initialize_signac_completed)
@Project.post(part_2_download_data_completed)
@Project.operation(cmd=True, aggregator=aggregator())
def part_2_download_data_command(*jobs):
    """Fetch and verify the data sets that the jobs name."""
    datasets = sorted({job.sp.dataset for job in jobs})
    return shlex.join([sys.executable, "-m", "plmnist", "download", "--data-dir", "data", *datasets])


# --- Part 3: train and test ------------------------------------------------------------------------------------------

part_3_train_and_test_completed = Project.label("part_3_train_and_test_completed")(isfile("train.json"))


@Project.pre(part_1_initialize_signac_completed)
@Project.pre(part_2_download_data_completed)
@Project.post(part_3_train_and_test_completed)
@Project.post(isfile("model.safetensors"))
@Project.post(isfile("history.csv"))
@Project.operation(cmd=True, batch=True, directives={"walltime": hours("training")})
def part_3_train_and_test_command(*jobs):
    """Train the networks, one after the other, and test them."""
    return plmnist("train", jobs, "--data-dir", "data")


# --- Part 4: attack --------------------------------------------------------------------------------------------------

part_4_fgsm_attack_completed = Project.label("part_4_fgsm_attack_completed")(isfile("fgsm.json"))


@Project.pre(part_3_train_and_test_completed)
@Project.post(part_4_fgsm_attack_completed)
@Project.post(isfile("fgsm_examples.npz"))
@Project.post(isfile("fgsm.png"))
@Project.operation(cmd=True, batch=True, directives={"walltime": hours("fgsm")})
def part_4_fgsm_attack_command(*jobs):
    """Attack the trained networks with the fast gradient sign method."""
    return plmnist("attack", jobs, "--data-dir", "data")


# --- Part 4, controls: stronger and weaker attacks, and whether to believe them ---------------------------------------

part_4_control_attacks_completed = Project.label("part_4_control_attacks_completed")(isfile("pgd.json"))
part_4_checks_completed = Project.label("part_4_checks_completed")(isfile("checks.json"))


@Project.pre(part_3_train_and_test_completed)
@Project.post(part_4_control_attacks_completed)
@Project.post(isfile("noise.json"))
@Project.post(isfile("pgd_outcomes.npz"))
@Project.post(isfile("noise_outcomes.npz"))
@Project.operation(cmd=True, batch=True, directives={"walltime": hours("controls")})
def part_4_control_attacks_command(*jobs):
    """Attack a thousand of the test images with projected gradient descent, and with noise. CHANGE HERE: how."""
    control = ["--attack", "noise", "pgd", "--images", "1000", "--steps", "20"]
    return plmnist("attack", jobs, *control, "--data-dir", "data")


@Project.pre(part_3_train_and_test_completed)
@Project.post(part_4_checks_completed)
@Project.operation(cmd=True, batch=True, directives={"walltime": hours("checks")})
def part_4_checks_command(*jobs):
    """Look for signs that the evaluation of a network can't be believed; a warning is a finding, not a failure."""
    return plmnist("check", jobs, "--data-dir", "data")


# --- Part 5: mean and standard deviation over seeds ------------------------------------------------------------------


def part_5_seed_analysis_completed(*jobs):
    """Say whether the table has the row of these jobs, made from the results they have now."""
    return seed_analysis.is_up_to_date(HERE / "analysis", jobs)


@Project.pre(part_4_fgsm_attack_completed)
@Project.post(part_5_seed_analysis_completed)
@Project.operation(aggregator=aggregator.groupby(ALL_BUT_SEED, DEFAULTS, sort_by="seed"), batch=True)
def part_5_seed_analysis_command(*jobs):
    """Write the table and the figures, from all jobs that are finished."""
    seed_analysis.write_analysis(HERE / "workspace", HERE / "analysis")


# --- Part 6: the report ----------------------------------------------------------------------------------------------


def part_6_report_completed(*jobs):
    """Say whether there is a report, made from the results that the jobs have now."""
    return report.is_up_to_date(HERE / "analysis", jobs)


@Project.pre(part_4_fgsm_attack_completed)
@Project.pre(part_4_control_attacks_completed)
@Project.pre(part_4_checks_completed)
@Project.pre(part_5_seed_analysis_completed)
@Project.post(part_6_report_completed)
@Project.operation(aggregator=aggregator())
def part_6_report_command(*jobs):
    """Write the report. Of a study that is not finished: ``python project.py exec part_6_report_command``."""
    print(report.write_report(HERE / "workspace", HERE / "analysis"))


if __name__ == "__main__":
    Project.main()
