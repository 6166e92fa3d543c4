"""The filters of templates, as functions and as templates of signac-flow call them."""

from __future__ import annotations

import datetime
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import signac

from pointillist import FlowProject
from pointillist.environment import DefaultSlurmEnvironment
from pointillist.errors import ConfigKeyError, SubmitError, TemplateError
from pointillist.util import template_filters
from pointillist.util.config import get_config_value

HOUR = datetime.timedelta(hours=1)


def asking(**directives: Any) -> SimpleNamespace:
    return SimpleNamespace(directives=directives)


@pytest.fixture
def project(tmp_path: Path) -> FlowProject:
    signac.init_project(tmp_path).open_job({"x": 1}).init()
    for key, value in {"flow.shade": "green", "flow.Lab.account": "art-1886"}.items():
        subprocess.run(
            [sys.executable, "-m", "signac", "config", "set", key, value], cwd=tmp_path, check=True, capture_output=True
        )

    class Study(FlowProject):
        pass

    Study.operation("work")(lambda job: None)
    lab = type("Lab", (DefaultSlurmEnvironment,), {})
    return Study(tmp_path, environment=lab, entrypoint={"path": "project.py"})


def test_configuration_is_asked_by_key_and_namespace(project: FlowProject) -> None:
    assert get_config_value(project, "shade") == "green"
    assert get_config_value(project, "account", ns="Lab") == "art-1886"
    assert get_config_value(project, "account", ns="Elsewhere", default=3) == 3
    assert get_config_value(project, "nothing", default=None) is None
    with pytest.raises(ConfigKeyError, match=r"no key flow\.Lab\.colour") as caught:
        get_config_value(project, "colour", "Lab")
    assert "signac config set flow.Lab.colour" in caught.value.hint


def test_account_is_that_of_the_environment(project: FlowProject) -> None:
    assert template_filters.get_account_name(project) == "art-1886"
    project._environment = type("Elsewhere", (DefaultSlurmEnvironment,), {})
    assert template_filters.get_account_name(project) is None
    with pytest.raises(SubmitError, match="Elsewhere needs an account"):
        template_filters.get_account_name(project, required=True)


def test_templates_of_signac_flow_find_project_and_account(
    project: FlowProject, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(project.path) / "templates"
    folder.mkdir()
    (folder / "script.sh").write_text(
        '{% extends "slurm.sh" %}\n'
        "{% block header %}\n"
        "{{- super() -}}\n"
        "{% set account = account|default(project|get_account_name, true) %}\n"
        "#SBATCH -A {{ account }}\n"
        "# {{ project|get_config_value('shade') }} {{ project|get_config_value('tint', ns='Lab', default='none') }}\n"
        "# {{ project.workspace }} {{ project|length }} {{ project }}\n"
        "{% endblock header %}\n"
    )
    project.submit(pretend=True)
    text = capsys.readouterr().out
    assert "#SBATCH -A art-1886\n# green none\n" in text
    assert f"# {project.path}/workspace 1 {project.path}\n" in text


@pytest.mark.parametrize(("parallel", "memory", "hours"), [(False, 8, 3), (True, 9, 2)])
def test_sums_and_maxima(parallel: bool, memory: float, hours: int) -> None:
    operations = [
        asking(memory=1, walltime=HOUR, np=2),
        asking(memory=8, walltime=2 * HOUR, np=2),
        asking(memory=None, walltime=None, np=2),
    ]
    assert template_filters.calc_memory(operations, parallel) == memory
    assert template_filters.calc_walltime(operations, parallel) == hours * HOUR
    assert template_filters.calc_tasks(operations, "np", parallel) == (6 if parallel else 2)
    assert template_filters.calc_memory([asking(memory=None)], parallel) == 0
    assert template_filters.calc_walltime([asking(walltime=None)], parallel) == datetime.timedelta()


def test_mixed_counts_are_refused_unless_allowed() -> None:
    operations = [asking(np=1), asking(np=4)]
    with pytest.raises(TemplateError, match="different np: 1, 4"):
        template_filters.calc_tasks(operations, "np")
    assert template_filters.calc_tasks(operations, "np", False, True) == 4
    assert template_filters.calc_tasks([asking(np=5, processor_fraction=0.3)], "np") == 2


def test_nodes_must_be_used() -> None:
    assert template_filters.calc_num_nodes(41, 40) == 2
    assert template_filters.calc_num_nodes(0, 40, 0.9) == 0
    assert template_filters.check_utilization(2, 72, 40, threshold=0.9) == 2
    with pytest.raises(RuntimeError, match="71 cores would use 89% of 2 nodes"):
        template_filters.check_utilization(2, 71, 40, name="core")
    with pytest.raises(RuntimeError, match="1 task would use 50% of 1 node with 2 processors each"):
        template_filters.check_utilization(1, 1, 2)
    with pytest.raises(ValueError, match="between 0 and 1"):
        template_filters.check_utilization(2, 71, 40, threshold=2)
