"""The page that says what of signac-flow works here names everything, and tests that there are."""

from __future__ import annotations

import argparse
import ast
import importlib
import re
from functools import cache
from pathlib import Path

import pytest

import pointillist
from pointillist import FlowProject
from pointillist.environment import DefaultPBSEnvironment

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "surface.md").read_text()

# What signac-flow 0.29.1 adds to signac's project, and the options that `--help` of its commands lists.
MEMBERS = (
    "ALIASES PRINT_STATUS_ALL_VARYING_PARAMETERS completed_operations detect_operation_graph get_job_status groups "
    "label labels main make_group operation operation_hooks operations post pre print_status project_hooks run "
    "scheduler_jobs submit get_project init_project"
)
FLAGS = {
    "status": "--ignore-errors --profile --hide-progress --json -d --detailed -a --all-operations "
    "--only-incomplete-operations --stack -1 --one-line -e --expand --pretty --full --no-overview -m "
    "--overview-max-lines -p --parameters --param-max-width --eligible-jobs-max-lines --output-format",
    "run": "-n --num --pretend --progress --num-passes -t --timeout --switch-to-project-root -p --parallel "
    "--order --ignore-conditions",
    "submit": "-n --num --pretend --force --ignore-conditions --ignore-conditions-on-execution -b --bundle "
    "-p --parallel --template --template-help --hold --after --job-output --no-copy-env --partition",
}


def quoted(text: str) -> set[str]:
    """Return the words that stand in backticks."""
    return set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", text))))


def section(heading: str) -> str:
    return next(part for part in re.split(r"^#+ ", PAGE, flags=re.MULTILINE) if heading in part.split("\n")[0])


@cache
def defined_in(path: Path) -> set[str]:
    """Return the tests of a file, those of classes by their own name."""
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def rows() -> list[str]:
    lines = [line for line in PAGE.splitlines() if line.startswith("|")]
    return [line for line in lines if not re.match(r"\|(---|.*shown by)", line)]


@pytest.mark.parametrize("row", rows())
def test_each_row_names_tests_that_there_are(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
    assert named
    for path, test in named:
        assert test in defined_in(ROOT / "tests" / "pointillist" / path), f"{path}::{test}"


def test_links_lead_to_headings_that_there_are() -> None:
    for page, anchor in re.findall(r"\]\((\w+\.md)(?:#([\w-]+))?\)", PAGE):
        headings = re.findall(r"^#+ (.*)", (ROOT / "docs" / page).read_text(), flags=re.MULTILINE)
        known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in {"", *known}, f"{page}#{anchor}"


def test_every_public_name_is_on_the_page() -> None:
    assert not [name for name in MEMBERS.split() if not hasattr(FlowProject, name)]
    assert not sorted({*pointillist.__all__, *MEMBERS.split()} - quoted(PAGE))


@pytest.mark.parametrize("command", FLAGS)
def test_every_option_of_signac_flow_is_on_the_page_and_understood(command: str) -> None:
    flags = {*["-j", "--job-id", "-f", "--filter", "-o", "--operation"], *FLAGS[command].split()}
    assert not sorted(flags - quoted(section(f"`{command}`")))
    parser = argparse.ArgumentParser()
    importlib.import_module(f"pointillist.cli.{command}").add_arguments(parser)
    if command == "submit":
        DefaultPBSEnvironment.add_args(parser)
    assert not sorted(flags - set(parser._option_string_actions))
