"""The arrows between the rooms point one way, and heavy packages stay out of commands that do not use them."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ["definition", "state", "execution", "sharing", "cli", "cluster"]
ENGINE = sorted((ROOT / "pointillist").rglob("*.py"))
DOORS = ["aggregates", "directives", "environment", "environments", "hooks", "labels", "scheduling", "template", "util"]


def imports_of(path: Path, *, for_types: bool = False) -> set[str]:
    """Return the modules, or names in modules, that a file imports, within functions, too.

    Those under ``TYPE_CHECKING`` never run, and count only when asked for.
    """
    found: set[str] = set()

    def visit(nodes: list[ast.stmt]) -> None:
        for node in nodes:
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not for_types:
                continue
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                found.update(f"{node.module}.{alias.name}" for alias in node.names)
            else:
                for part in ("body", "orelse", "finalbody", "handlers"):
                    visit(getattr(node, part, []))

    visit(ast.parse(path.read_text()).body)
    return found


def file_of(module: str, files: Collection[str]) -> str:
    """Return which of the files, by module name, an import is about; "" for none."""
    while module and module not in files:
        module = module.rpartition(".")[0]
    return module


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downwards_only(path: Path) -> None:
    room = path.relative_to(ROOT / "pointillist").parts[0]
    forbidden = {
        "definition": {"state", "execution", "sharing", "cli", "cluster", "study", "project"},
        "state": {"execution", "sharing", "cli", "cluster", "study", "project"},
        "execution": {"sharing", "cli", "study", "project"},
        "sharing": {"execution", "cli", "cluster", "study", "project"},
        "cli": {"study", "project"},
        "cluster": {"definition", "state", "execution", "sharing", "cli", "study", "project"},
    }.get(room, set())
    # Lower rooms know higher ones not even by their types; the others know a study so.
    for module in imports_of(path, for_types=room in ("definition", "state", "cluster")):
        words = module.split(".")
        assert not (words[0] == "pointillist" and len(words) > 1 and words[1] in forbidden), module


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_know_a_study_and_not_its_face(room: str) -> None:
    for path in (ROOT / "pointillist" / room).rglob("*.py"):
        assert not any(name.startswith("pointillist.project") for name in imports_of(path, for_types=True)), path


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_does_not_use_its_doors_for_older_programs(path: Path) -> None:
    if path.relative_to(ROOT / "pointillist").with_suffix("").parts[0] not in ("__init__", *DOORS):
        for module in imports_of(path):
            assert module.split(".")[:2] not in [["pointillist", door] for door in DOORS], module


@pytest.mark.parametrize("path", ENGINE, ids=lambda p: str(p.relative_to(ROOT)))
def test_engine_does_not_know_the_science(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports_of(path)} & {"torch", "lightning", "plmnist", "flow"}


@pytest.mark.parametrize("path", sorted((ROOT / "plmnist").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_science_does_not_know_the_engine(path: Path) -> None:
    assert not {module.split(".")[0] for module in imports_of(path)} & {"signac", "pointillist", "flow"}


@pytest.mark.parametrize("room", ["pointillist", "plmnist", "project"])
def test_no_files_import_each_other_in_a_circle(room: str) -> None:
    # Imports within functions count, too: they hide a circle, they do not open it.
    root = ROOT / room if room == "project" else ROOT
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / room).rglob("*.py")
    }
    graph = {name: {file_of(module, files) for module in imports_of(path)} for name, path in files.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_importing_the_engine_imports_nothing_heavy() -> None:
    code = (
        "import sys, pointillist; "
        "print({'signac', 'numpy', 'rich', 'jinja2', 'torch', 'subprocess'} & set(sys.modules) or '')"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_every_public_name_is_there() -> None:
    import pointillist

    assert all(hasattr(pointillist, name) for name in pointillist.__all__)
