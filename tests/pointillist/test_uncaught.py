"""A project file as a program: where there is nothing to mend in its code, no traceback is shown."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from patience import until

FILE = """
import pathlib, time
from pointillist import FlowProject
if pathlib.Path("slowly").exists():
    pathlib.Path("importing").touch()
    time.sleep(60)
class Project(FlowProject): pass
{}
"""


@pytest.mark.parametrize("line", ["Project.get_project().main()", "Project().main()", "Project.main()"])
def test_outside_of_any_project_a_sentence_says_so(tmp_path: Path, line: str) -> None:
    (tmp_path / "project.py").write_text(FILE.format(line))
    words = [sys.executable, "project.py", "status"]
    told = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert told.stderr.startswith(f"Error: There is no signac project in {tmp_path}.\nMake one")


def test_tracebacks_are_shown_when_they_are_asked_for_and_of_other_programs(tmp_path: Path) -> None:
    line = "Project.get_project().main()"
    for text, words in ((FILE.format(line), ["--debug"]), (FILE.format("Project.get_project()"), [])):
        (tmp_path / "project.py").write_text(text)
        command = [sys.executable, "project.py", *words]
        told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert told.returncode == 1
        assert "Traceback" in told.stderr


def test_an_interrupt_during_imports_ends_it_quietly(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(FILE.format("Project.get_project().main()"))
    (tmp_path / "slowly").touch()
    command = [sys.executable, "project.py", "status"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as program:
        until((tmp_path / "importing").exists)
        program.send_signal(signal.SIGINT)
        assert program.communicate()[1] == ""
    # By the signal, as other programs: a shell makes 130 of it, and ends a loop around it.
    assert program.returncode == -signal.SIGINT


def test_who_takes_care_of_exceptions_already_is_left_alone(tmp_path: Path) -> None:
    own = "import sys\nsys.excepthook = lambda *of: print('own')\n"
    (tmp_path / "project.py").write_text(own + FILE.format("Project.get_project().main()"))
    told = subprocess.run([sys.executable, "project.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (told.stdout, told.stderr) == ("own\n", "")
