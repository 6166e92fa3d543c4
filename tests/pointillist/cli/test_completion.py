"""Completion of commands, options, operations and ids, asked by a real bash as the tab key does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BODY = """
group = Project.make_group("together")

@group
@Project.post.isfile("a")
@Project.operation
def train(job): pass

@group
@Project.operation
def test_it(job): pass
"""

ASK = """
source <(python project.py completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
read -ra COMP_WORDS <<< "$1"
[[ $1 == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 ))
_pointillist python
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def study(make_study) -> Any:
    return make_study(BODY, *({"x": x} for x in range(3)))


def press_tab(study: Any, line: str) -> list[str]:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        [bash, "-c", ASK, "bash", line],
        cwd=study.path,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not result.stderr
    return result.stdout.split()


def test_commands_options_operations_and_ids_are_offered(study: Any) -> None:
    jobs = study.make_jobs()
    assert press_tab(study, "python project.py sta") == ["status"]
    assert {"run", "status", "submit"} <= set(press_tab(study, "python project.py "))
    assert press_tab(study, "python project.py status --detai") == ["--detailed"]
    assert sorted(press_tab(study, "python project.py run -o t")) == ["test_it", "together", "train"]
    assert press_tab(study, "python project.py exec tr") == ["train"]
    assert sorted(press_tab(study, "python project.py run -o train -j ")) == jobs
    assert press_tab(study, f"python project.py logs -j {jobs[1][:5]}") == [jobs[1]]
    assert press_tab(study, f"python project.py exec train {jobs[0]} {jobs[2][:5]}") == [jobs[2]]


def test_other_command_lines_are_left_to_the_shell(study: Any) -> None:
    (study.path / "other.py").write_text("raise SystemExit('was run')")
    assert press_tab(study, "python other.py st") == []
    assert press_tab(study, "python pro") == []
    assert press_tab(study, "python no_such_file.py st") == []


def test_without_jobs_nothing_is_offered(study: Any) -> None:
    shutil.rmtree(study.path / "workspace")
    assert press_tab(study, "python project.py run -j ") == []


def test_completion_costs_nothing_when_nobody_asks(study: Any) -> None:
    words = "import sys, runpy; sys.argv = ['project.py', 'status']\n"
    code = words + "try: runpy.run_path('project.py', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "assert 'argcomplete' not in sys.modules and 'pointillist.cli.completion' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=study.path, check=True, capture_output=True)


def test_an_answer_loads_nothing_heavy(study: Any) -> None:
    line = "python project.py run -j "
    answers = study.path / "answers"
    code = (
        "import os, sys, runpy; sys.argv = ['project.py']\n"
        "os._exit = lambda code: (print(*sys.modules), sys.stdout.flush(), exit(code))\n"
        "runpy.run_path('project.py', run_name='__main__')"
    )
    asked = {"_ARGCOMPLETE": "2", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_SHELL": "bash"}
    asked |= {"_ARGCOMPLETE_STDOUT_FILENAME": str(answers), "_ARGCOMPLETE_IFS": "\n"}
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=study.path, env=os.environ | asked, check=True, capture_output=True, text=True
    ).stdout.split()
    assert [word.strip() for word in answers.read_text().split()] == study.make_jobs()
    assert not {"signac", "numpy", "jinja2", "rich"} & set(loaded)
