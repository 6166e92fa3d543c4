"""A copy of the study in a folder of the test's own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("init.py", "project.py", "hpc_setup.py", "src", "templates", "analysis", "README.md")
# The block of the report that tells of the run, and the size of the report in the list of its files.
ORIGIN = re.compile(rb"<!-- About the run.*?<!-- End of what is about the run|\"report.html\": \d+", re.DOTALL)
MADE_BY_A_RUN = shutil.ignore_patterns(
    "output*", "report.html", "measurements.*", "differences.*", "figures", ".lock", "__pycache__"
)


@dataclass
class StudyCopy:
    """The study at a path, driven as a user would."""

    path: Path

    def python(self, script: str, *arguments: str, check: int | None = 0, **options: object) -> str:
        """Run one of its scripts and return all that it printed."""
        environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PLMNIST_DATA_DIR")}
        result = subprocess.run(
            [sys.executable, str(self.path / script), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            **({"cwd": self.path, "env": environment} | options),  # type: ignore[call-overload]
        )
        assert check is None or result.returncode == check, result.stdout
        return str(result.stdout)

    def change(self, filename: str, old: str, new: str) -> None:
        """Edit one of its files, as a user would."""
        text = (self.path / filename).read_text()
        assert old in text
        (self.path / filename).write_text(text.replace(old, new))

    def table(self) -> list[dict[str, str]]:
        """Return the table as a list of rows."""
        lines = (self.path / "analysis/output_avg_std_of_seed_txt_filename.txt").read_text().splitlines()
        names = lines[0].split()
        return [dict(zip(names, line.split(), strict=True)) for line in lines[1:]]

    def results(self) -> dict[str, bytes]:
        """Return the bytes of every file a run has made, by path; left out is what tells of times and places."""
        return {
            str(path.relative_to(self.path)): ORIGIN.sub(b"", path.read_bytes())
            for folder in ("workspace", "analysis")
            for path in sorted((self.path / folder).rglob("*"))
            if path.is_file() and path.name != ".lock" and path.parent.name != "provenance"
        }


def copy_study(target: Path, *, adversarial: bool = False) -> StudyCopy:
    """Copy the study, by default without adversarial training: with the tutorial's 18 points alone."""
    target.mkdir(parents=True)
    for part in PARTS:
        source = ROOT / "project" / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=MADE_BY_A_RUN)
        else:
            shutil.copy(source, target / part)
    copy = StudyCopy(target)
    if not adversarial:
        copy.change("init.py", 'ADVERSARIAL = ["fgsm", "pgd"]', "ADVERSARIAL = []")
    return copy
