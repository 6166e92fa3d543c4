"""The room stands beside the others: it imports none of them, and nothing heavy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pointillist.cluster

ROOM = Path(pointillist.cluster.__file__).parent


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_module_imports_only_downwards(path: Path) -> None:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            # A room itself may be what is imported: "from pointillist import errors".
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == "pointillist" else {module}
    inner = {name for name in names if name.startswith("pointillist")}
    assert all(name.startswith(("pointillist.cluster", "pointillist.errors", "pointillist.wording")) for name in inner)
    assert not {name.split(".")[0] for name in names} & {"signac", "jinja2", "rich", "torch", "numpy"}
