#!/usr/bin/env python3
"""Measure the engine beside signac-flow 0.29.1: whole processes, on the same workspaces, in the same run.

    python benchmarks/bench_engine.py                        18 to 10^5 jobs
    python benchmarks/bench_engine.py --sizes 500            one size
    python benchmarks/bench_engine.py --sizes 1000000 --only status-first status-again --no-peer

Ours and the peer are installed into environments of their own, with what each needs and nothing else, or taken from
``--ours PYTHON`` and ``--peer PYTHON``. Peak memory is that of the largest process. The table goes to standard output
and, with ``--record``, to ``benchmarks/records/engine.md``, whose hand-written end is kept.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from engine_studies import Study

ROOT = Path(__file__).resolve().parents[1]
PEER = "signac-flow==0.29.1"
RECORD = ROOT / "benchmarks" / "records" / "engine.md"
KEPT_FROM = "## Where the time goes"
"""From this heading on the record is written by hand."""

GOALS = {
    (100_000, "make"): "5 s",
    (100_000, "status-first"): "3 s, 200 MB",
    (100_000, "status-again"): "0.8 s",
    (100_000, "status-ten"): "0.8 s",
    (100_000, "grouped-first"): "4 s",
    (100_000, "grouped-again"): "1 s",
    (100_000, "json"): "4 s",
    (100_000, "run-1"): "1.5 s",
    (100_000, "run-job"): "0.3 s",
    (100_000, "exec"): "0.3 s",
    (500, "tasks-python-1"): "0.4 s",
    (500, "tasks-python-2"): "0.4 s",
    (500, "tasks-shell-1"): "1.2 s",
    (500, "tasks-shell-2"): "0.9 s",
    (18, "status-first"): "0.15 s",
    (18, "status-again"): "0.15 s",
    (1_000_000, "status-again"): "10 s, 1.5 GB",
}
"""What was aimed at, on a machine on which the peer took 0.79 and 1.33 s for 500 Python tasks, 2.64 and 1.91 s
for as many shell tasks (one after the other, two at once), and 28 to 42 s for the first status of 100,000 jobs."""

LAUNCHER = """\
import os, sys, time
null = os.open(os.devnull, os.O_WRONLY)
began = time.perf_counter()
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)])
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - began, usage.ru_maxrss, end="")
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
"""Starts a command from a small process: Linux counts the memory of whoever starts a process as its first peak."""


@dataclass
class Measured:
    """What some runs of one command took."""

    seconds: list[float]
    peak_mb: float

    def __str__(self) -> str:
        spread = f" ({min(self.seconds):.2f}-{max(self.seconds):.2f})" if len(self.seconds) > 1 else ""
        return f"{statistics.median(self.seconds):.2f} s{spread}, {self.peak_mb:.0f} MB"


def measure(words: list[str], cwd: Path, *, repeats: int = 1, before: Callable[[], object] | None = None) -> Measured:
    """Run a command several times, and say how long it took and what memory its largest process needed."""
    seconds, peak = [], 0.0
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment["SIGNAC_FLOW_ENVIRONMENT"] = "StandardEnvironment"
    for _ in range(repeats):
        if before is not None:
            before()
        ended = subprocess.run(
            [sys.executable, "-I", "-S", "-c", LAUNCHER, *words],
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
        )
        last = ended.stdout.rpartition("\n")[2]
        if ended.returncode or not last:
            raise SystemExit(f"{words} ended with {ended.returncode}:\n{ended.stderr[-2000:]}")
        took, peak_kb = last.split()
        seconds.append(float(took))
        peak = max(peak, int(peak_kb) / 1024)
    return Measured(seconds, peak)


def making(study: Study, ours: str, peer: str | None) -> Iterator[list[str]]:
    """Measure how long it takes to make the jobs, and to find that they are all there; yield rows of the table.

    Each makes them into an empty workspace, ours last, and the rest is measured on what it made. Nothing is removed
    before: an ext4 without a journal passes over inodes that were in use minutes ago one by one for each new file,
    which takes many times as long as making it.
    """
    folder, jobs = study.path, study.jobs
    theirs = [measure([peer, "flow_make.py", str(jobs)], folder) for _ in range(2)] if peer else []
    if peer:
        (folder / "workspace").rename(folder / "workspace-of-the-peer")
    mine = [measure([ours, "pointillist_make.py", str(jobs)], folder) for _ in range(2)]
    for number, (name, what) in enumerate((("make", "making the jobs"), ("make-again", "the same, all there"))):
        other = theirs[number] if theirs else None
        goal = GOALS.get((jobs, name), "")
        yield [what, f"{jobs:,}", str(mine[number]), str(other or ""), ratio_of(mine[number], other), goal]


def rows(study: Study, ours: str, peer: str | None, only: list[str] | None) -> Iterator[list[str]]:
    """Measure everything else at one size; yield rows of the table."""
    folder, jobs = study.path, study.jobs
    big = jobs >= 30_000
    seen: dict[str, Measured] = {}
    repeats, peer_repeats = (3, 1) if big else (5, 3)

    def row(
        name: str,
        what: str,
        words: list[str],
        *,
        script: str = "plain",
        before: Callable[[], object] | None = None,
        cwd: Path | None = None,
        peer_too: bool = True,
        peer_as: str = "",
        times: int = repeats,
        check: Callable[[], object] = lambda: None,
    ) -> Iterator[list[str]]:
        if only and not any(part in name for part in only):
            return
        if name.endswith("again"):
            measure([ours, f"pointillist_{script}.py", *words], cwd or folder)
        mine = measure([ours, f"pointillist_{script}.py", *words], cwd or folder, repeats=times, before=before)
        check()
        theirs = seen.get(peer_as) if big else None  # it remembers nothing: once is enough
        if theirs is None and peer and peer_too:
            peer_before = before if before in (study.clear_tasks, study.change_ten) else None
            theirs = measure(
                [peer, f"flow_{script}.py", *words], cwd or folder, repeats=min(times, peer_repeats), before=peer_before
            )
            check()
        if theirs is not None:
            seen[name] = theirs
        yield [what, f"{jobs:,}", str(mine), str(theirs or ""), ratio_of(mine, theirs), GOALS.get((jobs, name), "")]

    study.fill()
    study.settle()
    yield from row("status-first", "`status`, first time", ["status"], before=study.forget)
    yield from row("status-again", "`status`, nothing changed", ["status"], peer_as="status-first")
    yield from row(
        "status-ten", "`status`, ten jobs changed", ["status"], before=study.change_ten, peer_as="status-first"
    )
    first, again = "`status`, groupby and JSON contents", "the same again"
    yield from row("grouped-first", first, ["status"], script="grouped", before=study.forget)
    yield from row("grouped-again", again, ["status"], script="grouped", peer_as="grouped-first")
    yield from row("opaque", "`status`, two labels that are functions", ["status"], script="opaque")
    yield from row("json", "`status --json`", ["status", "--json"])
    yield from row("run-1", "`run -n 1`", ["run", "-n", "1"])
    job_id = min(path.name for path in study.folders())
    yield from row(
        "run-job", "`run -o first -j ID`, aggregates declared", ["run", "-o", "first", "-j", job_id], script="grouped"
    )
    yield from row("exec", "`exec first ID`, aggregates declared", ["exec", "first", job_id], script="grouped")
    if jobs in (100, 500, 1_000, 10_000):
        for kind in ("python", "shell"):
            for slots in (1, 2):
                yield from row(
                    f"tasks-{kind}-{slots}",
                    f"{jobs:,} trivial {kind} tasks" + (f", `--parallel {slots}`" if slots > 1 else ""),
                    ["run", "-o", kind, *(["--parallel", str(slots)] if slots > 1 else [])],
                    script="tasks",
                    before=study.clear_tasks,
                    times=3 if jobs < 10_000 else 1,
                    check=lambda kind=kind: study.check_tasks(kind),  # type: ignore[misc]
                )
        if not only or any(part in "tasks-xargs" for part in only):
            for slots in (1, 2):
                yield [
                    f"the same shell tasks by `xargs -P{slots} sh -c`",
                    f"{jobs:,}",
                    str(by_xargs(study, slots)),
                    "",
                    "",
                    "",
                ]


def by_xargs(study: Study, slots: int) -> Measured:
    """Measure the trivial shell tasks without any engine."""
    listed = study.path / "folders"
    listed.write_text("".join(f"{folder}\n" for folder in study.folders()))
    words = ["xargs", "-a", str(listed), f"-P{slots}", "-I{}", "sh", "-c", "touch {}/shell.txt"]
    taken = measure(words, study.path, repeats=3, before=study.clear_tasks)
    study.check_tasks("shell")
    return taken


def ratio_of(mine: Measured, theirs: Measured | None) -> str:
    """Say how many times as long the peer took."""
    return "" if theirs is None else f"{statistics.median(theirs.seconds) / statistics.median(mine.seconds):.1f}"


def table(lines: list[list[str]]) -> str:
    """Return rows as a Markdown table."""
    head = ["work", "jobs", "pointillist", "signac-flow", "ratio", "goal"]
    text = ["| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines]]
    return "\n".join(text)


def surroundings(peer: str | None) -> str:
    """Say on what machine, with what versions and from which commit."""
    import signac

    import pointillist

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.strip()
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{datetime.date.today()}, commit {commit}, pointillist {pointillist.__version__}, signac {signac.__version__},"
        f" {PEER if peer else 'no peer'}, Python {platform.python_version()}; {os.cpu_count()} cores of {cpu},"
        f" {memory:.0f} GiB, {platform.system()} {platform.release()}, a local disk; load at the end"
        f" {os.getloadavg()[0]:.1f}. Whole processes, Python's start included: median (least-most), peak memory of the"
        " largest process. Both engines in environments of their own, without NumPy."
    )


def install(folder: Path, package: str) -> str:
    """Install a package into an environment of its own; return its Python."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
    return python


def main() -> None:
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[18, 100, 500, 1_000, 10_000, 100_000])
    parser.add_argument(
        "--only", nargs="+", help="rows whose name holds one of: status, grouped, opaque, json, run, exec, tasks, make"
    )
    parser.add_argument("--ours", help="a Python that has ours; by default this checkout is installed for the occasion")
    parser.add_argument("--peer", help="a Python that has the peer; by default it is installed for the occasion")
    parser.add_argument("--no-peer", action="store_true", help="measure ours only")
    parser.add_argument("--folder", type=Path, help="where to make the workspaces; on a local disk")
    parser.add_argument("--record", action="store_true", help=f"write the table to {RECORD.relative_to(ROOT)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        ours = arguments.ours or install(Path(temporary, "ours"), str(ROOT))
        peer = None if arguments.no_peer else arguments.peer or install(Path(temporary, "peer"), PEER)
        studies = [Study(Path(temporary, f"study-{size}"), size) for size in arguments.sizes]
        is_wanted = not arguments.only or "make" in arguments.only
        made = {
            study.jobs: list(making(study, ours, peer)) if is_wanted and study.jobs <= 100_000 else []
            for study in studies
        }
        lines = []
        for study in studies:
            for line in itertools.chain(made[study.jobs], rows(study, ours, peer, arguments.only)):
                lines.append(line)
                print("| " + " | ".join(line) + " |", file=sys.stderr, flush=True)
        text = f"# The engine beside its peer\n\n{surroundings(peer)}\n\n{table(lines)}\n"
    print(text)
    if arguments.record:
        RECORD.parent.mkdir(exist_ok=True)
        by_hand = RECORD.read_text().partition(KEPT_FROM)[1:] if RECORD.exists() else ()
        RECORD.write_text(text + "".join(("\n", *by_hand) if any(by_hand) else ()))


if __name__ == "__main__":
    main()
