"""``submit`` and ``cancel`` from the shell, over fake schedulers and the queue of one machine."""

from __future__ import annotations

import json
import os
import pty
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from patience import until

BODY = """
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={"walltime": 1, "np": 2})
def first(job):
    return f"touch workspace/{job.id}/a"

@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True)
def second(job):
    return f"touch workspace/{job.id}/b"
"""
POINTS = [{"x": x} for x in range(3)]


@pytest.fixture
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a scheduler."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for program in ("sh", "bash", "touch", "env", "git"):
        found = shutil.which(program)
        if found:
            (folder / program).symlink_to(found)
    monkeypatch.setenv("PATH", str(folder))


GROUPED = """
both = Project.make_group("both", submit_options="--num-passes 2", run_options="--debug")

@both
@Project.post.isfile("a")
@Project.operation(cmd=True, directives={"walltime": 1, "np": 2, "memory": 1})
def first(job):
    return f"touch workspace/{job.id}/a"

@both(directives={"walltime": 2, "ngpu": 1, "flavour": "sweet", "memory": 3})
@Project.pre.after(first)
@Project.post.isfile("b")
@Project.operation(cmd=True, directives={"walltime": 30})
def second(job):
    return f"touch workspace/{job.id}/b"
"""


@pytest.mark.usefixtures("plain_machine")
def test_without_a_scheduler_scripts_are_shown_and_nothing_is_submitted(make_study: Any) -> None:
    study = make_study(BODY, *POINTS)
    shown = study.cli("submit", "--pretend")
    assert shown.stdout.count("#!/bin/bash") == 3
    assert "3 tasks in 3 cluster jobs" in shown.stderr
    assert "at most 6 core-hours" in shown.stderr
    refused = study.cli("submit", check=4)
    assert "has no scheduler" in refused.stderr
    assert "run" in refused.stderr


def test_pretending_changes_nothing(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(BODY, *POINTS)
    before = sorted(study.path.rglob("*"))
    study.cli("submit", "--pretend", "--all", "--no-array")
    left = [path for path in sorted(study.path.rglob("*")) if path not in before]
    assert not [path for path in left if "scripts" in path.parts or "submissions" in path.parts]


@pytest.mark.usefixtures("plain_machine")
def test_pretending_says_in_a_sentence_that_there_is_nothing_to_submit(make_study: Any) -> None:
    study = make_study(BODY, *POINTS)
    for options in ([], ["--json"]):
        said = study.cli("submit", "--pretend", "-o", "second", *options)
        assert said.stderr == "Nothing to submit: no selected task is eligible.\n"
    assert '"scripts": []' in said.stdout


def test_options_reach_the_script(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "AnvilEnvironment")
    study = make_study(BODY, *POINTS)
    shown = study.cli("submit", "--pretend", "--bundle", "3", "--parallel", "--partition", "wholenode").stdout
    assert "#SBATCH --partition=wholenode" in shown
    assert "#SBATCH --ntasks=3" in shown
    assert "#SBATCH --cpus-per-task=2" in shown
    assert "#SBATCH --time=01:00:00" in shown
    chosen = study.cli("submit", "--pretend", "-n", "1").stdout
    assert "#SBATCH --partition=shared" in chosen
    assert "--array" not in chosen


def test_filters_and_ids_select_what_goes_up(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(BODY, *POINTS)
    (one,) = study.cli("submit", "--pretend", "-f", "x", "1", "--json").stdout.split("run -o first -j ")[1:]
    other = next(job_id for job_id in study.make_jobs() if not one.startswith(job_id))
    shown = study.cli("submit", "--pretend", "-j", other[:12]).stdout
    assert f"run -o first -j {other} " in shown
    assert shown.count("run -o") == 1


@pytest.mark.parametrize("number", [[], ["0"]])
def test_all_tasks_go_into_one_bundle(make_study: Any, monkeypatch: pytest.MonkeyPatch, number: list[str]) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(BODY, *POINTS)
    assert "3 tasks in 1 cluster job (1 submission)" in study.cli("submit", "--pretend", "--bundle", *number).stderr
    assert "no positive number" in study.cli("submit", "--pretend", "--bundle", "many", check=2).stderr


@pytest.mark.parametrize("environment", ["DefaultPBSEnvironment", "DefaultTorqueEnvironment"])
def test_variables_of_the_shell_go_along_to_pbs_unless_told_otherwise(
    make_study: Any, monkeypatch: pytest.MonkeyPatch, environment: str
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", environment)
    study = make_study(BODY, {"x": 0})
    assert "\n#PBS -V\n" in study.cli("submit", "--pretend").stdout
    assert "#PBS -V" not in study.cli("submit", "--pretend", "--no-copy-env").stdout


def test_request_that_fits_nowhere_is_refused_in_a_sentence(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "AnvilEnvironment")
    study = make_study(BODY.replace('"np": 2', '"np": 500'), *POINTS)
    refused = study.cli("submit", check=2)
    assert "fits into no partition of Anvil" in refused.stderr
    assert refused.stderr.count("fits into no partition") == 1


def test_template_help_lists_blocks_and_filters(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    shown = make_study(BODY).cli("submit", "--template-help").stdout
    assert "project_header" in shown
    assert "format_timedelta" in shown
    assert "get_prefix" in shown


def test_queue_of_one_machine_does_everything(make_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "LocalEnvironment")
    monkeypatch.setenv("POINTILLIST_QUEUE", str(tmp_path / "queue"))
    study = make_study(BODY.replace('"np": 2', '"np": 1'), *POINTS)
    study.cli("submit", "--all")
    until(lambda: len(list((study.path / "workspace").glob("*/b"))) == 3)


def test_cancel_wants_a_selection_and_takes_back_what_is_selected(
    make_study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "LocalEnvironment")
    monkeypatch.setenv("POINTILLIST_QUEUE", str(tmp_path / "queue"))
    study = make_study(BODY.replace('"np": 2', '"np": 1'), *POINTS)
    assert "Nothing is selected" in study.cli("cancel", check=3).stderr
    assert "No selected task is on the cluster" in study.cli("cancel", "--all").stderr
    study.cli("submit", "--hold")
    one = study.make_jobs()[0]
    shown = study.cli("cancel", "-j", one, "--pretend")
    assert "1 task would be cancelled" in shown.stderr
    study.cli("cancel", "-j", one)
    until(lambda: "eligible" in study.cli("explain", "-o", "first", "-j", one).stdout.split("\n")[0])
    assert "2 tasks are on the cluster already" in study.cli("submit", "-o", "first", "--hold").stderr
    study.cli("cancel", "--all")
    assert os.path.isdir(tmp_path / "queue")


def test_group_goes_up_as_one_with_its_options_and_the_sum_of_what_it_needs(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(GROUPED, *POINTS)
    shown = study.cli("submit", "-o", "both", "--pretend")
    assert shown.stdout.count("#!/bin/bash") == 1
    for line in ("--array=0-2", "--time=03:00:00", "--mem=3072M", "--gpus=1", "--cpus-per-task=2"):
        assert f"#SBATCH {line}\n" in shown.stdout
    assert 'run -o both -j "${ids[@]}" --num-passes 2 ||' in shown.stdout
    assert "6 tasks in 3 cluster jobs (1 submission); at most 18 core-hours, 9 GPU-hours." in shown.stderr
    alone = study.cli("submit", "-o", "second", "first", "--pretend").stdout
    assert "--time=01:00:00" in alone
    assert "--num-passes" not in alone


def test_cost_is_that_of_whole_nodes_where_a_partition_gives_no_less(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "AnvilEnvironment")
    study = make_study(GROUPED, *POINTS)
    shared = study.cli("submit", "-o", "first", "--pretend").stderr
    assert "3 tasks in 3 cluster jobs (1 submission); at most 6 core-hours." in shared
    whole = study.cli("submit", "-o", "first", "--partition", "wholenode", "--pretend").stderr
    assert "3 tasks in 3 cluster jobs (1 submission); at most 384 core-hours." in whole
    forced = study.cli("submit", "-o", "first", "--partition", "wholenode", "--force", "--pretend").stderr
    assert "at most 384 core-hours." in forced


def test_directive_that_no_template_reads_is_named(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(GROUPED, *POINTS)
    words = "Warning: The template script.sh does not read the directive 'flavour' of both: slurm is not asked for it."
    assert words in study.cli("submit", "-o", "both", "--pretend").stderr
    assert "Warning" not in study.cli("submit", "--pretend").stderr
    (study.path / "templates").mkdir()
    template = study.path / "templates" / "script.sh"
    template.write_text(
        "{% extends base_script %}{% block memory %}{% endblock %}"
        "{% block custom_content %}# {{ operations|map(attribute='directives.flavour')|join }}{% endblock %}"
    )
    said = study.cli("submit", "-o", "both", "--pretend")
    assert "# sweet" in said.stdout
    assert said.stderr.count("Warning") == said.stderr.count("'memory'") == 1


def test_what_to_ignore_and_where_to_write_goes_up(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(BODY, {"x": 0})
    words = ("submit", "--pretend", "-o", "second", "--ignore-conditions", "pre")
    shown = study.cli(*words, "--ignore-conditions-on-execution", "pre", "--job-output", "out of it.txt").stdout
    assert "run -o second --ignore-conditions=pre -j" in shown
    assert '#SBATCH --output="out of it.txt"\n' in shown
    assert "--ignore-conditions" not in study.cli(*words).stdout


def test_templates_lie_where_the_configuration_says_or_beside_the_environment(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(BODY, *POINTS)
    package = study.path / "lab"
    for template, text in (
        (package / "templates" / "lab.sh", "{% extends 'slurm.sh' %}{% block footer %}# of the lab{% endblock %}"),
        (study.path / "forms" / "script.sh", "{% extends base_script %}{% block custom_content %}# own{% endblock %}"),
    ):
        template.parent.mkdir(parents=True)
        template.write_text(text)
    (package / "__init__.py").write_text("")
    (package / "machines.py").write_text(
        "from pointillist.environment import DefaultSlurmEnvironment\n"
        "class Lab(DefaultSlurmEnvironment):\n    template = 'lab.sh'\n"
    )
    project = study.path / "project.py"
    project.write_text(project.read_text().replace("from pointillist", "import lab.machines\nfrom pointillist", 1))
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "Lab")
    shown = study.cli("submit", "--pretend").stdout
    assert "# of the lab" in shown
    assert "# own" not in shown
    with open(study.path / ".signac" / "config", "a") as config:
        config.write("template_dir = forms\n")
    shown = study.cli("submit", "--pretend").stdout
    assert "# of the lab" in shown
    assert "# own" in shown


def test_template_that_loses_the_signal_is_named(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "DefaultSlurmEnvironment")
    study = make_study(BODY.replace('"np": 2', '"signal_before_s": 60'), *POINTS)
    assert "Warning" not in study.cli("submit", "--pretend", "--all", "--bundle", "2").stderr
    assert "Warning" not in study.cli("submit", "--pretend", "--bundle", "--parallel").stderr
    (study.path / "templates").mkdir()
    own = "{% extends base_script %}{% block body %}{{ operations[0].cmd }}{% endblock %}"
    (study.path / "templates" / "script.sh").write_text(own)
    assert "the signal before the time limit does not reach the work" in study.cli("submit", "--pretend").stderr


@pytest.mark.usefixtures("plain_machine")
@pytest.mark.parametrize(("template", "line"), [("slurm.sh", "#SBATCH --time"), ("pbs.sh", "#PBS -l walltime")])
def test_the_template_of_a_scheduler_shows_its_lines_where_there_is_none(
    make_study: Any, template: str, line: str
) -> None:
    study = make_study(BODY.replace('"walltime": 1', '"walltime": 3'), *POINTS)
    shown = study.cli("submit", "--pretend", "--template", template, "-n", "1").stdout
    assert "03:00:00" in next(one for one in shown.splitlines() if one.startswith(line))
    assert "# first(" in shown


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        (
            "DefaultSlurmEnvironment",
            "sbatch --hold --dependency=afterok:123 --kill-on-invalid-dep=yes --qos=low --parsable .pointillist/",
        ),
        ("DefaultPBSEnvironment", "qsub -h -W depend=afterok:123 --qos=low .pointillist/scripts/"),
        ("DefaultLSFEnvironment", "bsub -H -w 'done(123)' -ti --qos=low < .pointillist/scripts/"),
    ],
)
def test_the_line_that_would_submit_is_shown(
    make_study: Any, monkeypatch: pytest.MonkeyPatch, environment: str, line: str
) -> None:
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", environment)
    study = make_study(BODY, *POINTS)
    shown = study.cli("submit", "--pretend", "-n", "1", "--hold", "--after", "123", "--", "--qos=low").stdout
    assert shown.splitlines()[-1].startswith(f"# Submit command: {line}")


def test_what_fits_nowhere_is_named_and_the_rest_is_prepared(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    body = """
from pointillist.environment import DefaultSlurmEnvironment, _PartitionConfig

class Lab(DefaultSlurmEnvironment):
    DEBUG = True
    _partition_config = _PartitionConfig(cpus_per_node={"default": 8})

@Project.operation(cmd=True, directives={"ngpu": 1})
def large(job): return "true"

@Project.operation(cmd=True)
def small(job): return "true"
"""
    shown = make_study(body, *POINTS).cli("submit", "--pretend", check=2)
    assert "Not submitted: 'Project/large/" in shown.stderr
    assert "it asks for GPUs and it has none" in shown.stderr
    assert "run -o small" in shown.stdout
    assert "run -o large" not in shown.stdout


@pytest.fixture
def asked(make_study: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Return a function that answers the question of ``submit`` and returns the exit code, the answer, the words."""
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "LocalEnvironment")
    study = make_study(BODY, *POINTS)
    terminal, end = pty.openpty()

    def ask(answer: bytes, *options: str) -> tuple[int, str, str]:
        command = study.command("submit", *options)
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=study.path, stdin=end, stderr=end, stdout=pipe, start_new_session=True)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(terminal, 1 << 16)
        if answer:
            os.write(terminal, answer)
        else:
            process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        # A terminal hands on what was written a moment later, in its order.
        os.write(end, b"\0")
        while not seen.endswith(b"\0"):
            seen += os.read(terminal, 1 << 16)
        return process.returncode, said.decode(), seen[:-1].decode().replace("\r\n", "\n")

    yield ask
    os.close(terminal)
    os.close(end)


@pytest.mark.parametrize("answer", [b"n\n", b"\x04"], ids=["no", "end of file"])
def test_document_says_that_nothing_was_submitted_when_the_answer_is_no(asked: Any, answer: bytes) -> None:
    code, said, _words = asked(answer, "--json")
    document = json.loads(said)
    assert (code, document["submissions"], document["left"]) == (0, [], 3)


def test_interrupt_at_the_question_submits_nothing_and_says_so(asked: Any) -> None:
    code, said, words = asked(b"")
    assert (code, said) == (130, "")
    assert words.endswith("[y/N] \nNothing was submitted.\n")


def test_option_of_an_environment_takes_the_place_of_one_of_ours(
    make_study: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = """
from pointillist.environment import DefaultSlurmEnvironment

class Lab(DefaultSlurmEnvironment):
    @classmethod
    def add_args(cls, parser):
        parser.add_argument("--partition", default="gpu,batch", help="one of the lab")
        parser.add_argument("--hold", action="store_true")

@Project.operation(cmd=True)
def work(job): return "true"
"""
    monkeypatch.setenv("POINTILLIST_ENVIRONMENT", "Lab")
    study = make_study(body, *POINTS)
    shown = study.cli("submit", "--pretend").stdout
    assert "#SBATCH --partition=gpu,batch\n" in shown
    assert "sbatch --parsable" in shown
    shown = study.cli("submit", "--pretend", "--partition", "short", "--hold").stdout
    assert "#SBATCH --partition=short\n" in shown
    assert "sbatch --hold --parsable" in shown
    assert "one of the lab" in study.cli("submit", "--help").stdout
