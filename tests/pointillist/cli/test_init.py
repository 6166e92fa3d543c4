"""``python -m pointillist init`` and ``template create``, and the same from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pointillist


@pytest.mark.parametrize(("template", "completed"), [("minimal", 3), ("example", 21), ("testing", 20)])
def test_what_init_writes_runs(engine: Any, tmp_path: Path, template: str, completed: int) -> None:
    engine(tmp_path, "-m", "pointillist", "init", "-t", template)
    engine(tmp_path, "init.py")
    assert f"{completed} completed" in engine(tmp_path, "project.py", "run").stderr
    assert "eligible" in engine(tmp_path, "project.py", "status").stdout


def test_init_overwrites_nothing(engine: Any, tmp_path: Path) -> None:
    (tmp_path / "init.py").write_text("mine")
    assert "there already" in engine(tmp_path, "-m", "pointillist", "init", check=2).stderr
    assert [path.name for path in tmp_path.iterdir()] == ["init.py"]
    with pytest.raises(OSError, match="there already"):
        pointillist.init(path=tmp_path)


def test_init_from_python_names_the_files(tmp_path: Path) -> None:
    files = pointillist.init("study", path=tmp_path / "new")
    assert [Path(file).name for file in files] == ["study.py", "init.py"]
    with pytest.raises(ValueError, match="name of a Python file"):
        pointillist.init("not a name", path=tmp_path)
    with pytest.raises(ValueError, match="example"):
        pointillist.init(template="exampel", path=tmp_path)


def test_template_create_extends_a_script(engine: Any, tmp_path: Path) -> None:
    told = engine(tmp_path, "-m", "pointillist", "template", "create", "-e", "slurm", "-n", "mine.sh").stderr
    assert told.endswith("mine.sh' extending the template 'slurm.sh'.\n")
    assert '{% extends "slurm.sh" %}' in (tmp_path / "templates" / "mine.sh").read_text()
    assert (
        "there already" in engine(tmp_path, "-m", "pointillist", "template", "create", "-n", "mine.sh", check=2).stderr
    )
