"""``python -m pointillist init`` and ``template create``: files to begin a study with."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pointillist.cli.starters import STARTERS
from pointillist.errors import PointillistError, near_matches

CUSTOM_SCRIPT = """\
{{% extends "{base}" %}}
{{% block header %}}
{{{{- super() -}}}}
{{# Lines that every script of this project should begin with, for instance: #}}
{{# #SBATCH --mail-type=FAIL #}}
{{% endblock header %}}
"""


def init(
    alias: str | None = None, template: str | None = None, path: str | os.PathLike[str] | None = None
) -> list[str]:
    """Write the files of a new study, and make a signac project where there is none.

    Parameters
    ----------
    alias
        The name of the project file, without suffix; by default ``project``.
    template
        ``minimal`` (the default), ``example``, or ``testing``.
    path
        The folder; by default the current one.

    Returns
    -------
    list of str
        The files that were written.

    Raises
    ------
    FileExistsError
        When one of them is there already; nothing is written then.
    """
    alias = "project" if alias is None else alias
    if not alias.isidentifier():
        raise ValueError(f"{alias!r} can't be the name of a Python file.")
    files = STARTERS.get("minimal" if template is None else template)
    if files is None:
        raise ValueError(f"There is no template {template!r}. {near_matches(str(template), STARTERS)}")
    return write_files(files, alias, path)


def write_files(
    files: Sequence[tuple[str, str]], alias: str = "project", path: str | os.PathLike[str] | None = None
) -> list[str]:
    """Write files of a new study, all or none, and make a signac project where there is none."""
    folder = os.path.abspath(path or os.getcwd())
    named = {os.path.join(folder, f"{alias}.py" if name == "project.py" else name): text for name, text in files}
    for file in named:
        if os.path.exists(file):
            raise FileExistsError(f"{file} is there already; nothing was written.")
    os.makedirs(folder, exist_ok=True)
    if not os.path.isfile(os.path.join(folder, ".signac", "config")):
        import signac

        signac.init_project(folder)
    for file, text in named.items():
        _write(file, text)
    return list(named)


def create_script_template(base: str | None = None, name: str | None = None) -> tuple[str, str]:
    """Write a template of cluster scripts, and return its path and the name of the engine's template that it extends.

    Raises
    ------
    PointillistError
        When it is there already.
    """
    if base is None:
        from pointillist.cluster.environments import get_environment

        base = get_environment().template
    path = os.path.join(os.getcwd(), "templates", name or "script.sh")
    if os.path.exists(path):
        raise PointillistError(f"{path} is there already; nothing was written.", hint="--name gives another name.")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    base = base if base.endswith(".sh") else f"{base}.sh"
    _write(path, CUSTOM_SCRIPT.format(base=base))
    return path, base


def _write(path: str, text: str) -> None:
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
