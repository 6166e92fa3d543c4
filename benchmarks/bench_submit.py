"""How long it takes to hand a thousand tasks to a real Slurm, and to look at a large study with a full queue.

::

    python benchmarks/bench_submit.py                 everything; starts a Slurm of its own (see tests)
    python benchmarks/bench_submit.py --peer PYTHON   beside signac-flow, in an environment that has it

Prints one JSON document: medians and ranges in seconds over several runs, and what they were measured on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "pointillist" / "cluster"))

OURS = """
from {module} import FlowProject
class Project(FlowProject): pass
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={{"walltime": 0.1}})
def first(job):
    return f"touch workspace/{{job.id}}/a"
if __name__ == "__main__":
    Project.get_project().main()
"""


def make_study(folder: Path, jobs: int, module: str = "pointillist") -> Path:
    """Make a study with many jobs, quickly."""
    import hashlib

    import signac

    signac.init_project(folder)
    for number in range(jobs):
        text = json.dumps({"x": number})
        job = folder / "workspace" / hashlib.md5(text.encode()).hexdigest()
        job.mkdir(parents=True)
        (job / "signac_statepoint.json").write_text(text)
    (folder / "project.py").write_text(OURS.format(module=module))
    return folder


def call(study: Path, *words: str, python: str = sys.executable) -> str:
    done = subprocess.run([python, "project.py", *words], cwd=study, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout


def measure(action: Callable[[], object], runs: int, between: Callable[[], object] = lambda: None) -> dict[str, float]:
    """Return median and range of some runs in seconds, the first one left out."""
    times = []
    for _ in range(runs + 1):
        between()
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    times = times[1:]
    rounded = {"median_s": statistics.median(times), "least_s": min(times), "most_s": max(times)}
    return {name: round(value, 3) for name, value in rounded.items()}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=100_000, help="jobs of the large study")
    parser.add_argument("--queued", type=int, default=5_000, help="cluster jobs in the queue of the large study")
    parser.add_argument("--peer", help="a python with signac-flow")
    arguments = parser.parse_args()
    from slurm_service import SlurmService, find_or_install

    find_or_install()
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    service = SlurmService(folder / "slurm", max_array_size=1001)
    service.folder.mkdir()
    service.start()
    os.environ.update(service.environment)
    found: dict[str, object] = {}
    try:
        thousand = make_study(folder / "thousand", 1000)

        def clean() -> None:
            service.run("scancel", f"--user={os.environ.get('USER', 'root')}")
            shutil.rmtree(thousand / ".pointillist", ignore_errors=True)

        found["submit 1000 tasks"] = measure(lambda: call(thousand, "submit", "--hold"), arguments.runs, clean)
        found["submissions for 1000 tasks"] = len(list((thousand / ".pointillist" / "scripts").glob("*.sh")))
        found["status of 1000 held tasks"] = measure(lambda: call(thousand, "status"), arguments.runs)
        clean()
        if arguments.peer:
            few = make_study(folder / "peer", 100, "flow")
            began = time.perf_counter()
            call(few, "submit", "--hold", python=arguments.peer)
            found["signac-flow: submit 100 tasks, once, s"] = round(time.perf_counter() - began, 3)
            clean()
        large = make_study(folder / "large", arguments.jobs)
        call(large, "status")
        found["pretend, large"] = measure(lambda: call(large, "submit", "--pretend"), arguments.runs)
        call(large, "submit", "--hold", "-n", str(arguments.queued))
        found["status, large, full queue"] = measure(lambda: call(large, "status"), arguments.runs)
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found["jobs, large"], found["queued, large"] = arguments.jobs, arguments.queued
    found["machine"] = f"{platform.platform()}, {os.cpu_count()} cores"
    found["versions"] = f"python {platform.python_version()}, commit {commit.stdout.strip()}"
    print(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
