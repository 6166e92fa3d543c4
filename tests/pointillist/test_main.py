"""``python -m pointillist``, and the names and doors of the package."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

import pointillist
from pointillist import errors
from pointillist.util import misc


def test_a_trial_asks_for_what_the_machine_has(engine: Any, tmp_path: Path) -> None:
    engine(tmp_path, "-m", "pointillist", "test-workflow", "-c", "4", "-g", "2", "-n", "3")
    assert len(list((tmp_path / "workspace").iterdir())) == 3
    script = engine(tmp_path, "project.py", "submit", "--pretend", "-o", "use_all_gpus", "-n", "1").stdout
    assert "use_all_gpus" in script
    assert "9 completed" in engine(tmp_path, "project.py", "run").stderr
    engine(tmp_path, "init.py")
    assert len(list((tmp_path / "workspace").iterdir())) == 3
    assert "at least 1" in engine(tmp_path, "-m", "pointillist", "test-workflow", "-n", "0", check=2).stderr


def test_version_is_told(engine: Any, tmp_path: Path) -> None:
    assert pointillist.__version__ in engine(tmp_path, "-m", "pointillist", "--version").stdout


NAMES = {
    "pointillist": [
        "FlowProject",
        "IgnoreConditions",
        "aggregator",
        "classlabel",
        "cmd",
        "directives",
        "environment",
        "environments",
        "errors",
        "get_aggregate_id",
        "get_environment",
        "hooks",
        "init",
        "label",
        "redirect_log",
        "scheduling",
        "staticlabel",
        "with_job",
    ],
    "pointillist.aggregates": [
        "_AggregateStore",
        "_AggregateStoresCursor",
        "_JobAggregateCursor",
        "aggregator",
        "get_aggregate_id",
    ],
    "pointillist.directives": ["DirectivesError", "_Directive", "_Directives", "_NP", "_WALLTIME"],
    "pointillist.environment": [
        "ComputeEnvironment",
        "DefaultLSFEnvironment",
        "DefaultPBSEnvironment",
        "DefaultSlurmEnvironment",
        "StandardEnvironment",
        "TestEnvironment",
        "_NodeTypes",
        "_PartitionConfig",
        "get_environment",
        "template_filter",
    ],
    "pointillist.environments": ["drexel", "incite", "purdue", "umich", "umn", "xsede"],
    "pointillist.errors": [
        "ConfigKeyError",
        "DirectivesError",
        "FlowProjectDefinitionError",
        "NoSchedulerError",
        "SubmitError",
        "TemplateError",
        "UserConditionError",
        "UserOperationError",
    ],
    "pointillist.hooks": ["TrackOperations"],
    "pointillist.labels": ["classlabel", "label", "staticlabel"],
    "pointillist.project": [
        "FlowGroup",
        "FlowProject",
        "IgnoreConditions",
        "aggregator",
        "classlabel",
        "label",
        "staticlabel",
    ],
    "pointillist.scheduling": ["base", "lsf", "pbs", "slurm"],
    "pointillist.scheduling.base": ["ClusterJob", "JobStatus", "Scheduler"],
    "pointillist.util": ["config", "misc", "template_filters"],
    "pointillist.util.config": ["get_config_value"],
    "pointillist.util.misc": ["redirect_log"],
    "pointillist.util.template_filters": ["calc_tasks", "calc_walltime", "check_utilization", "get_account_name"],
}


@pytest.mark.parametrize("module", NAMES)
def test_names_of_signac_flow_are_there(module: str) -> None:
    found = importlib.import_module(module)
    missing = [name for name in NAMES[module] if not hasattr(found, name)]
    assert not [name for name in missing if importlib.util.find_spec(f"{module}.{name}") is None]


def test_doors_are_open_without_being_imported_by_name(engine: Any, tmp_path: Path) -> None:
    doors = "aggregates directives environment environments errors hooks labels project scheduling template util"
    engine(tmp_path, "-c", f"import pointillist as flow; [getattr(flow, name) for name in {doors.split()}]")


def test_a_star_import_gives_every_public_name() -> None:
    names: dict[str, object] = {}
    exec("from pointillist import *", names)
    assert set(pointillist.__all__) <= set(names)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = pointillist.nonsense


def test_members_of_a_project_are_there() -> None:
    members = (
        "operation pre post label make_group operations groups operation_hooks project_hooks labels run print_status "
        "get_job_status completed_operations detect_operation_graph main get_project init_project ALIASES submit "
        "scheduler_jobs"
    )
    assert not [name for name in members.split() if not hasattr(pointillist.FlowProject, name)]


@pytest.mark.parametrize(
    ("error", "parent"),
    [
        (errors.ConfigKeyError, KeyError),
        (errors.DirectivesError, ValueError),
        (errors.SubmitError, RuntimeError),
        (errors.NoSchedulerError, AttributeError),
        (errors.UserConditionError, RuntimeError),
        (errors.UserOperationError, RuntimeError),
        (errors.FlowProjectDefinitionError, ValueError),
        (errors.OverlapError, ValueError),
        (errors.PatternError, ValueError),
        (errors.SelectionError, LookupError),
    ],
)
def test_errors_keep_their_built_in_parents(error: type[Exception], parent: type[Exception]) -> None:
    assert issubclass(error, parent)
    assert str(error("what happened")) == "what happened"


def test_surroundings_are_changed_for_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Path.cwd()
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    with misc._add_path_to_environment_pythonpath(tmp_path), misc._switch_to_directory(tmp_path):
        assert Path.cwd() == tmp_path
        assert os.environ["PYTHONPATH"] == f"{tmp_path}:/elsewhere"
        with misc._switch_to_directory(None):
            assert Path.cwd() == tmp_path
    assert (Path.cwd(), os.environ["PYTHONPATH"]) == (here, "/elsewhere")
    monkeypatch.delenv("PYTHONPATH")
    with misc._add_cwd_to_environment_pythonpath():
        assert os.environ["PYTHONPATH"] == str(here)
    assert "PYTHONPATH" not in os.environ


def test_a_mapping_can_be_read_from_its_values() -> None:
    letters = misc._bidict({"a": 1}, b=2)
    letters["c"] = 1
    del letters["b"]
    assert letters == {"a": 1, "c": 1}
    assert (letters.inverse, len(letters)) == ({1: ["a", "c"]}, 2)
