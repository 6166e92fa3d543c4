"""A command that is run without a shell does exactly what the shell would have made of it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pointillist.execution.running import plain_commands
from pointillist.execution.running.plain_commands import as_in_a_shell, plain_words

SHOW = '#!/bin/sh\nprintf "%s\\\\0" "$@"\n'


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A program that prints its words."""
    path = tmp_path_factory.mktemp("bin") / "show"
    path.write_text(SHOW)
    path.chmod(0o755)
    return str(path)


def run_plain(command: str, env: dict[str, str]) -> bytes | None:
    plain = plain_words(command, env)
    if plain is None:
        return None
    return subprocess.run(plain[1], executable=plain[0], env=as_in_a_shell(env), capture_output=True).stdout


def run_in_shell(command: str, env: dict[str, str]) -> bytes:
    return subprocess.run(["/bin/sh", "-c", command], env=env, capture_output=True).stdout


pytestmark = pytest.mark.skipif(
    os.path.basename(os.path.realpath("/bin/sh")) != "dash", reason="/bin/sh is not dash, so every command goes to it"
)


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet="ab1 =-./:,@%+~*?[]{}#!^\\'\"$`;&|<>()\t\nä", max_size=12))
@example(" a=b")
@example(" ~")
@example(" a  b ")
def test_words_are_those_of_the_shell(show: str, text: str) -> None:
    command = f"{show} {text}"
    without = run_plain(command, dict(os.environ))
    if without is not None:
        assert without == run_in_shell(command, dict(os.environ))


@pytest.mark.parametrize("text", ["a b", "--x=1 -n 2", "a:b,c@d%e", "./x/../y", "1 2  3"])
def test_plain_words_need_no_shell(show: str, text: str) -> None:
    without = run_plain(f"{show} {text}", dict(os.environ))
    assert without is not None
    assert without == run_in_shell(f"{show} {text}", dict(os.environ))


@pytest.mark.parametrize(
    "command",
    [
        *("cd /tmp", "exit 3", "true", "echo a", "a=1 env", "X=1", "if", ". x", "test -f x", "time env"),
        *("no-such-program", "./nothing", "/etc", "/etc/passwd"),
        *("env;", "env &", "env > x", "env $HOME", "env 'a'", "env ~", "env *", "#env", " env", "env\n", ""),
    ],
)
def test_what_means_something_to_a_shell_goes_to_it(command: str) -> None:
    assert plain_words(command, dict(os.environ)) is None


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"PWD": "/nowhere"},
        {"PWD": "relative"},
        {"A-B": "1", "1A": "2", "A.B": "3", "BASH_FUNC_f%%": "() { :; }"},
        {"OLDPWD": "/x", "_": "y", "SHLVL": "4", "PS1": "$ ", "ENV": "/nothing", "EMPTY": ""},
        {"IFS": "x"},
        {"OPTIND": "7"},
        {"PPID": "1"},
        {"LINENO": "3"},
    ],
)
def test_programs_see_the_environment_that_the_shell_would_show_them(more: dict[str, str]) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": "/h"} | more
    without = run_plain("env", env)
    assert without is not None or {"IFS", "OPTIND", "PPID", "LINENO"} & set(more)
    if without is not None:
        assert sorted(without.splitlines()) == sorted(run_in_shell("env", env).splitlines())


def test_the_current_folder_keeps_the_name_it_was_reached_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "link")
    env = {"PATH": os.environ["PATH"], "PWD": str(tmp_path / "link")}
    assert run_plain("env", env) == run_in_shell("env", env)


@pytest.mark.parametrize("path", ["", "bin:/usr/bin", ":/usr/bin"])
def test_relative_folders_in_the_path_are_left_to_the_shell(path: str) -> None:
    assert plain_words("env", {"PATH": path}) is None


def test_the_first_program_in_the_path_is_the_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tool").write_text(f"#!/bin/sh\necho {name}\n")
        (tmp_path / name / "tool").chmod(0o755)
    env = {"PATH": f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two"}
    assert run_plain("tool", env) == b"one\n"
    (tmp_path / "one" / "tool").chmod(0o644)
    assert plain_words("tool", env) is None


def test_another_shell_gets_every_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_commands, "_shell_is_dash", lambda: False)
    assert plain_words("env", dict(os.environ)) is None


def test_a_script_without_an_interpreter_line_still_runs(make_study) -> None:
    body = """
        @Project.post.isfile("a")
        @Project.operation(cmd=True)
        def work(job):
            return f"./script {job.fn('a')}"
    """
    study = make_study(body, {"x": 0})
    (study.path / "script").write_text("echo $0 > $1\n")
    (study.path / "script").chmod(0o755)
    study.cli("run")
    (job_id,) = study.make_jobs()
    assert (study.job(job_id) / "a").read_text() == "./script\n"
