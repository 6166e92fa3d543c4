"""Mistakes on the command line: a sentence names the word that is wrong and what may have been meant."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

BODY = """
@Project.post.isfile("a")
@Project.operation
def train(job):
    open(job.fn("a"), "w").close()
"""


@pytest.fixture
def study(make_study: Any) -> Any:
    return make_study(BODY, {"x": 1}, {"x": 2})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--paralel", "2"], "Error: run has no option --paralel.\nDid you mean --parallel"),
        (["run", "--paralel=2"], "Error: run has no option --paralel.\nDid you mean --parallel"),
        (["status", "--detailled"], "Error: status has no option --detailled.\nDid you mean --detailed"),
        (["status", "-Z"], "Error: status has no option -Z.\n`--help` tells"),
        (["explain", "train"], "Error: explain does not know what to do with 'train'.\n-o names operations"),
        (["run", "seed=1"], "Error: run does not know what to do with 'seed=1'.\n-o names operations"),
        (["run", "--", "train"], "Error: run does not know what to do with 'train'.\n-o names operations"),
    ],
)
def test_word_that_means_nothing_is_named_with_what_may_have_been_meant(
    study: Any, words: list[str], said: str
) -> None:
    told = study.cli(*words, check=2)
    assert told.stderr.startswith(said)
    assert told.stdout == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (['{"x": 1'], "JSON that is not whole or was taken apart by the shell"),
        (['{"x":', "1}"], "JSON that is not whole or was taken apart by the shell"),
        (["{x:", "1}"], "JSON that is not whole or was taken apart by the shell"),
        (["{'x': 1}"], "can't be understood: Expecting property name"),
        (["x.$like", "1"], "can't be understood: \"Unknown operator"),
    ],
)
def test_broken_filter_is_no_filter_that_matches_nothing(study: Any, words: list[str], said: str) -> None:
    assert said in study.cli("run", "-f", *words, check=2).stderr
    assert not list(study.path.glob("workspace/*/a"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--gpus", "-1"], "argument --gpus: '-1' is no number from 0 up"),
        (["run", "--memory", "much"], "argument --memory: 'much' is no amount of memory: write a number of gigabytes"),
        (["logs", "--lines", "0"], "argument -l/--lines: '0' is no positive number"),
        (["reproduce", "--sample", "0"], "argument --sample: '0' is no positive number"),
    ],
)
def test_number_that_means_nothing_is_a_mistake(study: Any, words: list[str], said: str) -> None:
    assert said in study.cli(*words, check=2).stderr


@pytest.mark.parametrize("command", ["run", "status", "explain", "logs"])
def test_pattern_that_is_no_regular_expression_is_a_mistake(study: Any, command: str) -> None:
    told = study.cli(command, "-o", "tra(in", check=2).stderr
    assert told.startswith("Error: The operation pattern 'tra(in' is no regular expression: missing )")


def test_whole_json_is_a_filter(study: Any) -> None:
    study.cli("run", "-f", '{"x": 1}')
    assert len(list(study.path.glob("workspace/*/a"))) == 1


def test_exec_says_that_there_is_no_such_job_and_that_one_is_broken(study: Any) -> None:
    nobody, (broken, _other) = "0" * 32, study.make_jobs()
    assert f"Did not find job with id '{nobody}'" in study.cli("exec", "train", nobody, check=3).stderr
    (study.job(broken) / "signac_statepoint.json").unlink()
    assert "it has no signac_statepoint.json" in study.cli("exec", "train", broken, check=2).stderr


def test_program_that_is_called_from_elsewhere_says_where_its_project_is(study: Any, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    told = study.cli("status", cwd=elsewhere, check=2).stderr
    assert told.startswith(
        f"Error: There is no signac project in {elsewhere}.\nproject.py lies in one: change to {study.path}"
    )
    shutil.rmtree(study.path / ".signac")
    assert "Make one with init.py" in study.cli("status", cwd=elsewhere, check=2).stderr


def test_command_of_a_project_is_no_command_of_the_package(engine: Any, tmp_path: Path) -> None:
    told = engine(tmp_path, "-m", "pointillist", "status", check=2)
    assert told.stderr == "Error: status is a command of a project: python project.py status\n"
