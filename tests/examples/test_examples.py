"""Every example runs as its folder says, and finds what it should."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import signac

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/project.py"))


@pytest.fixture
def example(tmp_path: Path) -> Callable[[str], Path]:
    """Return a factory of copies of an example, its jobs made."""

    def copy(name: str) -> Path:
        folder = tmp_path / name
        shutil.copytree(EXAMPLES / name, folder, ignore=shutil.ignore_patterns("__pycache__", "workspace", ".*"))
        python(folder, "init.py")
        return folder

    return copy


def python(folder: Path, *words: str, check: int = 0) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(
        [sys.executable, *words], cwd=folder, capture_output=True, text=True, timeout=120, env=dict(os.environ)
    )
    assert result.returncode == check, result.stdout + result.stderr
    return result


def states(folder: Path) -> dict[str, dict[str, int]]:
    document = json.loads(python(folder, "project.py", "status", "--json").stdout)
    return {o["name"]: {s: n for s, n in o.items() if s != "name" and n} for o in document["operations"]}


def test_the_readme_names_every_example() -> None:
    assert sorted(re.findall(r"^\| \[`(\w+)`\]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == FOLDERS


def test_hello_world(example: Callable[[str], Path]) -> None:
    folder = example("hello_world")
    assert "Hello, Ada!" in python(folder, "project.py", "run").stdout
    assert states(folder) == {"greet": {"completed": 3}}


def test_parameter_grid(example: Callable[[str], Path]) -> None:
    folder = example("parameter_grid")
    python(folder, "project.py", "run", "-f", "particles", "100")
    assert states(folder)["report"] == {"completed": 6, "waiting": 6}
    python(folder, "project.py", "run", "--parallel", "2")
    assert {name: s for name, s in states(folder).items() if s != {"completed": 12}} == {}
    for job in signac.Project(folder):
        # The volume solves the van der Waals equation.
        n, v = job.sp.particles, job.doc.real
        pressure = n * 8.314 * job.sp.temperature / (v - n * 3.87e-5) - 0.137 * (n / v) ** 2
        assert math.isclose(pressure, job.sp.pressure * 1e6, rel_tol=1e-6)
    assert "0 jobs made, 12 were there already" in python(folder, "init.py").stdout


def test_random_walk(example: Callable[[str], Path]) -> None:
    pytest.importorskip("matplotlib")
    folder = example("random_walk")
    python(folder, "project.py", "run")
    assert states(folder) == {
        "simulate": {"completed": 12},
        "measure": {"completed": 12},
        "average": {"completed": 3},
        "plot_walks": {"completed": 3},
        "plot_distances": {"completed": 1},
    }
    assert (folder / "distances.png").read_bytes().startswith(b"\x89PNG")
    means = [j.doc.mean_squared_distance for j in signac.Project(folder) if "mean_squared_distance" in j.doc]
    assert len(means) == 3


def test_dynamic_data_space(example: Callable[[str], Path]) -> None:
    folder = example("dynamic_data_space")
    python(folder, "project.py", "run")
    project = signac.Project(folder)
    assert len(project) == 12
    (found,) = [job for job in project if job.isfile("answer.txt")]
    with open(found.fn("answer.txt")) as file:
        assert math.isclose(float(file.read()), math.sqrt(2), abs_tol=1e-3)


def test_groups(example: Callable[[str], Path]) -> None:
    folder = example("groups")
    python(folder, "project.py", "run", "-o", "prepare")
    assert states(folder)["square"] == {"completed": 6}
    assert states(folder)["share"] == {"waiting": 2}
    python(folder, "project.py", "run", "-o", "per_kind")
    assert states(folder)["share"] == {"completed": 2}
    shares: dict[str, float] = {}
    for job in signac.Project(folder):
        with open(job.fn("share.txt")) as file:
            shares[job.sp.kind] = shares.get(job.sp.kind, 0) + float(file.read())
    assert all(math.isclose(total, 1, abs_tol=2e-3) for total in shares.values())
    assert "both hold" in python(folder, "project.py", "run", "-o", ".*", check=2).stderr


def test_hooks(example: Callable[[str], Path]) -> None:
    folder = example("hooks")
    result = python(folder, "project.py", "run", check=1)
    assert "ZeroDivisionError" in result.stderr
    assert result.stdout.count("has printed the quotient") == 2
    assert states(folder)["divide"] == {"completed": 2, "failed": 1}
    jobs = {job.sp.divisor: job for job in signac.Project(folder)}
    assert jobs[0].doc.errors["divide"] == "division by zero"
    assert all(job.doc.duration_s >= 0 for job in jobs.values())
    assert all(job.isfile("signac_execution_history.log") for job in jobs.values())
