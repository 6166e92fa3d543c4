"""The proof: the study on the embedded digits, through the real Slurm, ends in the same bytes as ``run``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from patience import until
from slurm_service import SlurmService
from waiting import queue_is_empty

ROOT = Path(__file__).resolve().parents[3]


def make_study(folder: Path) -> Path:
    """Copy the study into a folder, with few epochs."""
    ignored = shutil.ignore_patterns(
        "output*", "figures", ".lock", "__pycache__", "workspace", ".pointillist", ".signac", "data"
    )
    shutil.copytree(ROOT / "project", folder, ignore=ignored)
    init = folder / "init.py"
    text = init.read_text()
    for old, new in (
        ("num_epochs=[5, 20]", "num_epochs=[1, 2]"),
        ('ADVERSARIAL = ["fgsm", "pgd"]', "ADVERSARIAL = []"),
    ):
        assert old in text
        text = text.replace(old, new)
    init.write_text(text)
    call(folder, "init.py")
    return folder


def call(folder: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PLMNIST_DATA_DIR")}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def results(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every result by its path; left out is what tells of times and places."""
    about_the_run = (".lock", ".cache", "report.html", "output_report.json")
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for part in ("workspace", "analysis")
        for path in sorted((folder / part).rglob("*"))
        if path.is_file() and path.name not in about_the_run and path.parent.name != "provenance"
    }


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What ``run`` makes on this machine."""
    folder = make_study(tmp_path_factory.mktemp("reference") / "study")
    call(folder, "project.py", "run", "--parallel", "2")
    return results(folder)


WAYS = {
    "arrays of bundles": ["--all", "--bundle", "9"],
    "bundles at the same time": ["--all", "--bundle", "18", "--parallel", "2", "--no-array"],
}


@pytest.mark.parametrize("way", WAYS)
def test_study_through_slurm_has_the_same_bytes(
    reference: dict[str, bytes], real_slurm: SlurmService, tmp_path: Path, way: str
) -> None:
    study = make_study(tmp_path / "study")
    submitted = call(study, "project.py", "submit", *WAYS[way])
    assert "part_5_seed_analysis_command" in submitted
    until(lambda: queue_is_empty(real_slurm), 240)
    found = results(study)
    logs = "\n".join(path.read_text() for path in (study / ".pointillist" / "logs" / "cluster").glob("*.out"))
    assert found.keys() == reference.keys(), logs
    assert [name for name in found if found[name] != reference[name]] == []
