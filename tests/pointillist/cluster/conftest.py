"""Fixtures of the cluster room: a real Slurm, fake schedulers, and one harness over all of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The modules beside this file are plain ones: they also run by hand, and as commands of the fakes.
sys.path.insert(0, str(Path(__file__).parent))

from debian import ProgramsMissing
from fake_schedulers.queue import FakeScheduler
from faking import put_on_path
from slurm_service import SlurmService, find_or_install, running

from pointillist.cluster.schedulers.base import current_user


@pytest.fixture(scope="session")
def slurm_programs() -> Callable[..., None]:
    """Make sure that Slurm's programs are here; skip where they are not, but for CI."""

    def require(what: str = "Slurm", *, accounting: bool = False) -> None:
        try:
            find_or_install(accounting=accounting)
        except ProgramsMissing as missing:
            if os.environ.get("CI") == "true":
                pytest.fail(f"CI needs a real {what}: {missing}")
            pytest.skip(f"no real {what}: {missing}")

    return require


@pytest.fixture(scope="session")
def slurm_service(slurm_programs: Callable[..., None]) -> Iterator[SlurmService]:
    """A real Slurm for the whole session; use `real_slurm` to speak to it."""
    slurm_programs()
    with running() as service:
        yield service


@pytest.fixture
def real_slurm(slurm_service: SlurmService, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlurmService]:
    """The session's Slurm, spoken to by this test; its queue is emptied afterwards."""
    for name, value in slurm_service.environment.items():
        monkeypatch.setenv(name, value)
    yield slurm_service
    slurm_service.run("scancel", "--full", "--signal=KILL", f"--user={current_user()}")
    slurm_service.run("scancel", f"--user={current_user()}")


@pytest.fixture
def fake_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeScheduler:
    """A fake Slurm on PATH."""
    return put_on_path("slurm", tmp_path, monkeypatch)
