"""The commands of the tutorial run, in the order a reader runs them, and print what the pages show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs" / "tutorial").glob("*.md"))
MADE_BY_A_RUN = ("workspace", "data", ".signac", ".pointillist", "output*", "figures", "__pycache__")
BLOCK = re.compile(r"^```(bash|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def plain(line: str) -> str:
    """Return a line without what differs from run to run: numbers, ids and spacing."""
    return re.sub(r"\s+", " ", re.sub(r"\b[0-9a-f]{32}\b|\d+(\.\d+)?", "#", line)).strip()


def run(command: str, folder: Path, ended_in: Path) -> str:
    """Run a block in a folder and return what it printed; the folder it ended in is left in a file."""
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "PLMNIST_DATA_DIR")}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    result = subprocess.run(
        ["bash", "-e", "-c", f"{command}\npwd > '{ended_in}'"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}"
    return result.stdout


def test_the_pages_can_be_followed_from_the_first_to_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "project", folder, ignore=shutil.ignore_patterns(*MADE_BY_A_RUN))
    for page in PAGES:
        output = ""
        for kind, text in BLOCK.findall(page.read_text()):
            if kind == "bash":
                output = run(text, folder, tmp_path / "folder")
                folder = Path((tmp_path / "folder").read_text().strip())
                continue
            printed = {plain(line) for line in output.splitlines()}
            for line in text.splitlines():
                assert plain(line) in printed, f"{page.name}: {line!r} is not in\n{output}"


@pytest.mark.parametrize("page", [*ROOT.glob("*.md"), *ROOT.glob("[!.]*/**/*.md")], ids=lambda p: p.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target
