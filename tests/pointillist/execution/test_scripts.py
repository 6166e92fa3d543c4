"""Golden scripts: what schedulers get, byte for byte, for many combinations of directives, bundle and parallel.

``python tests/pointillist/execution/test_scripts.py`` writes them anew; read the differences before committing them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pointillist.cluster.environments import (
    PACKAGED,
    ComputeEnvironment,
    DefaultLSFEnvironment,
    DefaultPBSEnvironment,
    DefaultSlurmEnvironment,
    DefaultTorqueEnvironment,
    StandardEnvironment,
)
from pointillist.cluster.errors import TemplateError
from pointillist.cluster.schedulers.requests import Array, Request
from pointillist.definition.directives import evaluate
from pointillist.execution.submitting.needs import at_once, needs_of, one_after_another
from pointillist.execution.submitting.scripts import Renderer, Script, ScriptLine, carries_array, run_command

HERE = Path(__file__).parent
GOLDEN = HERE / "scripts"
TEMPLATES = [str(HERE / "templates"), str(HERE.parents[2] / "project" / "templates")]
ENTRYPOINT = {"executable": "/opt/python/bin/python", "path": "/home/ada/my study/project.py"}
IDS = [f"{number:x}" * 32 for number in range(1, 7)]


@dataclass(frozen=True)
class Case:
    """One golden script."""

    environment: type[ComputeEnvironment] = DefaultSlurmEnvironment
    directives: Sequence[Mapping[str, Any]] = ({},)
    parallel: bool = False
    elements: int = 1
    batch: bool = False
    template: str = "script.sh"
    options: Mapping[str, Any] = field(default_factory=dict)
    operation: str = "train"
    path: str = "/home/ada/my study"
    request: Mapping[str, Any] = field(default_factory=dict)

    def text(self, templates: Sequence[str] = TEMPLATES) -> str:
        directives = [evaluate(one) for one in self.directives]
        needs = [needs_of(one) for one in directives]
        together = at_once(needs) if self.parallel else one_after_another(needs)
        array = Array(self.elements, limit=self.request.get("limit")) if self.elements > 1 else None
        scheduler = self.environment.script_scheduler()
        output = scheduler.output_pattern("logs/train-0123", array=array is not None) if scheduler else ""
        asked = {key: value for key, value in self.request.items() if key != "limit"}
        request = Request(
            name="Project/train/0123456789",
            processes=together.processes,
            threads_per_process=together.threads,
            gpus_per_process=together.gpus_per_process,
            gpus=together.loose_gpus or None,
            memory_bytes=together.memory_bytes,
            memory_per_core_bytes=together.memory_per_core_bytes,
            walltime_s=together.walltime_s,
            signal_before_s=together.signal_before_s,
            requeue=together.requeue,
            output=output,
            array=array,
            **asked,
        )
        request = self.environment.place(request)
        count = len(directives)
        shares = [(0, -1 if array else count)] if self.batch else [(n, n + 1) for n in range(count)]
        lines = [
            ScriptLine(
                name=self.operation,
                id=f"Project/{IDS[first]}/{self.operation}/",
                cmd=run_command(
                    ENTRYPOINT,
                    self.operation,
                    None if array else IDS[first:end],
                    slots=(first, end),
                    directives=directives[first],
                ),
                directives=directives[first],
                what=f"{self.operation}: element of {self.elements}" if array else "",
            )
            for first, end in shares
        ]
        elements = None
        if array:
            elements = [[f"{n:032x}" for n in range(e * count, (e + 1) * count)] for e in range(self.elements)]
        script = Script(
            project=SimpleNamespace(path=self.path, config={}, _environment=self.environment),
            environment=self.environment,
            request=request,
            lines=lines,
            elements=elements,
            parallel=self.parallel,
            template=self.template,
            options=self.options,
        )
        return Renderer(templates, self.environment).render(script, scheduler)


class PhoenixLike(DefaultSlurmEnvironment):
    """As in the study's ``hpc_setup.py``."""

    hostname_pattern = "only named"
    template = "phoenix.sh"
    cluster = PACKAGED["PhoenixEnvironment"].cluster


class Older(DefaultSlurmEnvironment):
    """An environment as people have written them for signac-flow."""

    hostname_pattern = "only named"
    template = "older.sh"


MPI = {"nranks": 4, "omp_num_threads": 2, "walltime": 1.5, "memory": "8g"}
THREADS = {"np": 4, "walltime": 0.5}
GPU = {"np": 2, "ngpu": 1, "memory": 4, "walltime": 12}
MODERN = {"processes": 2, "threads_per_process": 3, "gpus_per_process": 1, "memory_per_core": "512m", "walltime": 2}
WARNED = THREADS | {"signal_before_s": 120, "requeue": True}
CUSTOM = {"np": 1, "walltime": 1, "cpus-per-task": 4, "memory": 2}

CASES = {
    "plain": Case(),
    "standard": Case(environment=StandardEnvironment),
    "threads": Case(directives=[THREADS]),
    "mpi": Case(directives=[MPI]),
    "gpu": Case(directives=[GPU]),
    "modern": Case(directives=[MODERN]),
    "signal-and-requeue": Case(directives=[WARNED]),
    "signal-bundle": Case(directives=[WARNED] * 3, elements=2),
    "signal-parallel": Case(directives=[WARNED] * 3, parallel=True),
    "signal-pbs": Case(environment=DefaultPBSEnvironment, directives=[WARNED]),
    "signal-lsf": Case(environment=DefaultLSFEnvironment, directives=[WARNED], elements=2),
    "executable": Case(directives=[{"executable": "apptainer exec image.sif python3"}]),
    "bundle": Case(directives=[THREADS] * 3),
    "bundle-parallel": Case(directives=[THREADS] * 3, parallel=True),
    "bundle-mixed": Case(directives=[THREADS, MPI, GPU]),
    "bundle-mixed-parallel": Case(directives=[THREADS, MPI, GPU], parallel=True),
    "bundle-modern-parallel": Case(directives=[MODERN] * 2, parallel=True),
    "batch": Case(directives=[THREADS] * 3, batch=True),
    "array": Case(directives=[THREADS], elements=4),
    "array-limit": Case(directives=[THREADS], elements=3, request={"limit": 2}),
    "array-bundle": Case(directives=[THREADS] * 2, elements=2),
    "array-bundle-parallel": Case(directives=[THREADS] * 2, elements=2, parallel=True),
    "array-batch": Case(directives=[THREADS] * 2, elements=2, batch=True),
    "awkward": Case(operation="a'b $(c)", path="/home/ada/it's `here` $HOME"),
    "pbs": Case(environment=DefaultPBSEnvironment, directives=[MPI]),
    "pbs-array": Case(environment=DefaultPBSEnvironment, directives=[GPU], elements=3),
    "pbs-bundle-parallel": Case(environment=DefaultPBSEnvironment, directives=[THREADS] * 2, parallel=True),
    "torque": Case(environment=DefaultTorqueEnvironment, directives=[MPI]),
    "lsf": Case(environment=DefaultLSFEnvironment, directives=[MPI]),
    "lsf-array": Case(environment=DefaultLSFEnvironment, directives=[THREADS], elements=3),
    "lsf-gpu": Case(environment=DefaultLSFEnvironment, directives=[GPU]),
    "phoenix-cpu": Case(environment=PhoenixLike, directives=[THREADS], options={"account": "gts-ada"}),
    "phoenix-gpu": Case(environment=PhoenixLike, directives=[GPU], options={"qos": "embers", "conda": "my env"}),
    "phoenix-array": Case(environment=PhoenixLike, directives=[THREADS], elements=3),
    "older-cpu": Case(environment=Older, directives=[CUSTOM]),
    "older-gpu": Case(environment=Older, directives=[CUSTOM | {"ngpu": 1}]),
    "older-bundle": Case(environment=Older, directives=[CUSTOM] * 3),
    "older-bundle-parallel": Case(environment=Older, directives=[CUSTOM] * 3, parallel=True),
    "older-array": Case(environment=Older, directives=[CUSTOM], elements=2),
    **{
        f"{name.removesuffix('Environment').lower()}-{kind}": Case(environment=environment, directives=[directives])
        for name, environment in PACKAGED.items()
        for kind, directives in (("cpu", THREADS), ("gpu", {"np": 1, "ngpu": 1, "walltime": 1}))
        if name != "PhoenixEnvironment"
    },
}


@pytest.mark.parametrize("name", CASES)
def test_script_is_the_golden_one(name: str) -> None:
    assert CASES[name].text() == (GOLDEN / f"{name}.sh").read_text()


def test_no_golden_script_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.sh")} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_golden_script_is_a_shell_script(name: str) -> None:
    done = subprocess.run(["bash", "-n", GOLDEN / f"{name}.sh"], capture_output=True, text=True, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("parallel", [False, True])
def test_script_does_all_its_work_and_reports_what_failed(tmp_path: Path, parallel: bool) -> None:
    folder = tmp_path / "it's `here` $HOME"
    folder.mkdir()
    commands = ["touch one", "false", "touch three; (exit 3)"]
    lines = [ScriptLine(name="a", id=str(n), cmd=f"( {c} )", directives=evaluate({})) for n, c in enumerate(commands)]
    script = Script(
        project=SimpleNamespace(path=str(folder)),
        environment=StandardEnvironment,
        request=Request(name="a"),
        lines=lines,
        parallel=parallel,
    )
    text = Renderer([], StandardEnvironment).render(script, None)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert sorted(os.listdir(folder)) == ["one", "three"]


def test_templates_of_the_project_come_first_and_missing_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "slurm.sh").write_text("#!/bin/sh\necho mine\n")
    script = Script(
        project=SimpleNamespace(path="/p"),
        environment=DefaultSlurmEnvironment,
        request=Request(name="a"),
        lines=[],
    )
    renderer = Renderer([str(tmp_path)], DefaultSlurmEnvironment)
    assert renderer.render(script, None) == "#!/bin/sh\necho mine\n"
    (tmp_path / "slurm.sh").write_text('{% extends "nowhere.sh" %}')
    with pytest.raises(TemplateError, match="nowhere") as caught:
        Renderer([str(tmp_path)], DefaultSlurmEnvironment).render(script, None)
    assert "templates/" in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (DefaultSlurmEnvironment, "#SBATCH --partition={}"),
        (DefaultPBSEnvironment, "#PBS -q {}"),
        (DefaultLSFEnvironment, "#BSUB -q {}"),
    ],
)
def test_a_template_may_set_the_partition_that_nothing_else_has_chosen(
    tmp_path: Path, environment: Any, line: str
) -> None:
    (tmp_path / "own.sh").write_text("{% extends base_script %}\n{% set partition = partition|default('lab', true) %}")
    for chosen, expected in (({}, "lab"), ({"partition": "fast"}, "fast")):
        case = Case(environment, template="own.sh", options=chosen, request=chosen)
        text = case.text([str(tmp_path)])
        assert [one for one in text.splitlines() if one.startswith(line.format(""))] == [line.format(expected)]


def test_template_may_refuse() -> None:
    lines = [ScriptLine(name="a", id=str(n), cmd="true", directives=evaluate(CUSTOM)) for n in range(10)]
    script = Script(
        project=SimpleNamespace(path="/p"),
        environment=Older,
        request=Request(name="a"),
        lines=lines,
    )
    with pytest.raises(TemplateError, match="more than nine"):
        Renderer(TEMPLATES, Older).render(script, Older.script_scheduler())


def test_array_is_told_by_its_elements() -> None:
    assert carries_array((GOLDEN / "older-array.sh").read_text())
    assert not carries_array((GOLDEN / "older-cpu.sh").read_text())


def write_golden() -> None:
    """Write all golden scripts anew."""
    shutil.rmtree(GOLDEN, ignore_errors=True)
    GOLDEN.mkdir()
    for name, case in CASES.items():
        (GOLDEN / f"{name}.sh").write_text(case.text())


if __name__ == "__main__":
    write_golden()
    print(f"{len(CASES)} scripts in {GOLDEN}", file=sys.stderr)
