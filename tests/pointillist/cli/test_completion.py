"""Completion of commands, options, operations and ids, asked by a real bash and a real zsh as the tab key does."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import signac

from pointillist import get_aggregate_id

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
SEVERAL = """
@Project.operation(aggregator=aggregator.groupby(lambda job: job.sp.x > 0))
def several(*jobs): pass

@Project.operation(aggregator=aggregator(select=lambda job: 1 / 0))
def impossible(*jobs): pass
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


ZSHRC = """
PATH={path}:$PATH
autoload -Uz compinit
compinit -u -D
source <(python project.py completion zsh)
said() {{ print -rn -- "$BUFFER" > said.new; mv said.new said }}
zle -N said
bindkey '^]' said
touch is-ready
"""
"""Ctrl-] says what stands in the line by then."""


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


def test_ids_of_aggregates_are_offered(make_study: Any) -> None:
    study = make_study(BODY + SEVERAL, *({"x": x} for x in range(3)))
    jobs = study.make_jobs()
    both = get_aggregate_id([job for job in signac.get_project(study.path) if job.sp.x > 0])
    (one,) = (job.id for job in signac.get_project(study.path) if job.sp.x == 0)
    assert one in jobs
    assert press_tab(study, "python project.py run -o several -j ") == [both, *jobs]
    assert press_tab(study, "python project.py run -j agg") == [both]
    assert press_tab(study, "python project.py exec several agg-") == [both]
    assert press_tab(study, "python project.py run -j agg-nothing") == []


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


@pytest.fixture
def type_in_zsh(study: Any) -> Iterator[Callable[[str], str]]:
    """Return a function that types into a zsh at a terminal, and returns what stands in its line then."""
    zsh = shutil.which("zsh")
    if zsh is None:
        pytest.skip("there is no zsh")
    (study.path / ".zshrc").write_text(ZSHRC.format(path=Path(sys.executable).parent))
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        [zsh, "--no-global-rcs", "-i"],
        cwd=study.path,
        env=os.environ | {"ZDOTDIR": str(study.path), "TERM": "dumb"},
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)

    def wait_for(name: str) -> str:
        deadline = time.monotonic() + 60
        shown = b""
        while not (study.path / name).exists():
            assert time.monotonic() < deadline, shown.decode(errors="replace")
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 1 << 16)
        text = (study.path / name).read_text()
        (study.path / name).unlink()
        return text

    def type_in(keys: str) -> str:
        os.write(terminal, f"\x15{keys}\x1d".encode())
        return wait_for("said")

    wait_for("is-ready")
    yield type_in
    process.kill()
    process.wait()
    os.close(terminal)


def test_the_tab_key_completes_in_zsh(study: Any, type_in_zsh: Callable[[str], str]) -> None:
    jobs = study.make_jobs()
    assert type_in_zsh("python project.py sta\t") == "python project.py status "
    assert type_in_zsh("python project.py run -o tr\t") == "python project.py run -o train "
    assert type_in_zsh(f"python project.py run -j {jobs[1][:5]}\t") == f"python project.py run -j {jobs[1]} "
    assert type_in_zsh("python proj\t") == "python project.py "
    (study.path / "other.py").write_text("raise SystemExit('was run')")
    assert type_in_zsh("python other.py proj\t") == "python other.py project.py "
