"""Puts a fake scheduler where a test and its commands find it."""

from __future__ import annotations

import os
from pathlib import Path

import fake_schedulers.lsf
import fake_schedulers.pbs
import fake_schedulers.slurm
import pytest
from fake_schedulers.queue import FakeScheduler

FACES = {"slurm": fake_schedulers.slurm, "pbs": fake_schedulers.pbs, "lsf": fake_schedulers.lsf}


def put_on_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    """Make a fake scheduler and put its commands first on PATH."""
    fake = FakeScheduler(tmp_path / f"fake {name}", FACES[name])
    monkeypatch.setenv("PATH", f"{fake.bin}{os.pathsep}{os.environ['PATH']}")
    return fake
