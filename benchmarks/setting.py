"""Under which conditions a benchmark ran, as lines of Markdown to stand beside its numbers."""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def add_record_option(parser: argparse.ArgumentParser, name: str) -> None:
    """Add ``--record [FILE]``: where to write the result, by default where the record of that name lies."""
    default = Path("benchmarks", "records", f"{name}.md")
    text = f"write the result there, without a name to {default}"
    parser.add_argument("--record", metavar="FILE", type=Path, nargs="?", const=REPOSITORY / default, help=text)


def add_page_option(parser: argparse.ArgumentParser, section: str) -> None:
    """Add ``--page FILE``: the page of documentation of which :func:`replace_section` replaces a section."""
    text = f"replace the section {section!r} of that page of documentation by the summary"
    parser.add_argument("--page", metavar="FILE", type=Path, help=text)


def describe(packages: Iterable[str], *, command: str | None = None) -> str:
    """Return a Markdown list: machine, versions, commit, command."""
    lines = [
        f"Machine: {_cpu()}, {os.cpu_count()} cores, {_memory_gib()} GiB, {platform.system()} {platform.release()}",
        f"Versions: Python {platform.python_version()}, " + ", ".join(f"{p} {_version(p)}" for p in packages),
        f"Commit: {_commit()}",
        f"Command: `{command or shlex.join(['python', *_relative(sys.argv)])}`",
        f"Load of the machine at the end: {os.getloadavg()[0]:.1f}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def replace_section(page: Path, name: str, text: str) -> None:
    """Replace what stands in a page between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``."""
    before, begin, rest = page.read_text().partition(f"<!-- begin {name} -->")
    _, end, after = rest.partition(f"<!-- end {name} -->")
    if not begin or not end:
        raise SystemExit(f"{page} has no section {name!r}")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _cpu() -> str:
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return names[0].partition(":")[2].strip() if names else platform.machine()


def _memory_gib() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "plmnist", "benchmarks")
    return git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


def _relative(argv: Sequence[str]) -> list[str]:
    script = Path(argv[0]).resolve()
    inside = script.is_relative_to(REPOSITORY)
    return [str(script.relative_to(REPOSITORY)) if inside else script.name, *argv[1:]]
