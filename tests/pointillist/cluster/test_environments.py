"""Environments register by being defined, and the right one is found."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import pytest

from pointillist.cluster import environments as module
from pointillist.cluster.environments import (
    PACKAGED,
    ComputeEnvironment,
    DefaultPBSEnvironment,
    DefaultSlurmEnvironment,
    StandardEnvironment,
    TestEnvironment,
    environments,
    get_environment,
    make_environment,
    template_filter,
)
from pointillist.cluster.errors import EnvironmentNotFound, NoPartitionFits
from pointillist.cluster.partitions import Cluster, Partition
from pointillist.cluster.schedulers.requests import Request
from pointillist.errors import NoSchedulerError


@pytest.fixture(autouse=True)
def plain_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of no special name, without any scheduler; its programs are in the folder."""
    for variable in module.VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable in {one.cluster.variable for one in PACKAGED.values() if one.cluster} - {""}:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    be_called(monkeypatch, "laptop.example.org")
    # A class lives as long as something refers to it; those of other tests count as never defined.
    first = module._numbers.__reduce__()[1][0]
    known = module.environments
    packaged = set(PACKAGED.values())
    monkeypatch.setattr(
        module,
        "environments",
        lambda: [one for one in known() if one._number >= first or one in packaged or "Default" in one.__name__],
    )
    return tmp_path


def be_called(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: name)


def put_program(folder: Path, name: str) -> None:
    (folder / name).write_text("#!/bin/sh\n")
    (folder / name).chmod(0o755)


def test_machine_without_scheduler_is_a_standard_environment() -> None:
    assert get_environment() is StandardEnvironment
    with pytest.raises(NoSchedulerError, match="has no scheduler") as caught:
        get_environment().get_scheduler()
    assert "run" in caught.value.hint
    assert caught.value.exit_code == 4


def test_scheduler_on_the_path_decides(plain_machine: Path) -> None:
    put_program(plain_machine, "qsub")
    assert get_environment() is DefaultPBSEnvironment
    put_program(plain_machine, "sbatch")
    assert get_environment() is DefaultSlurmEnvironment
    assert get_environment().get_scheduler().name == "slurm"


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("gl-login1.arc-ts.umich.edu", "GreatLakesEnvironment"),
        ("login02.anvil.rcac.purdue.edu", "AnvilEnvironment"),
        ("br012.ib.bridges2.psc.edu", "Bridges2Environment"),
        ("login01.expanse.sdsc.edu", "ExpanseEnvironment"),
        ("login05.frontier.olcf.ornl.gov", "FrontierEnvironment"),
        ("login-phoenix-slurm-1.pace.gatech.edu", "PhoenixEnvironment"),
    ],
)
def test_packaged_cluster_is_told_by_its_name(monkeypatch: pytest.MonkeyPatch, hostname: str, name: str) -> None:
    be_called(monkeypatch, hostname)
    assert get_environment().__name__ == name


def test_users_own_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    be_called(monkeypatch, "login-phoenix-slurm-1.pace.gatech.edu")

    class Mine(DefaultSlurmEnvironment):
        hostname_pattern = r".*\.pace\.gatech\.edu$"
        template = "phoenix.sh"

    assert get_environment() is Mine
    be_called(monkeypatch, "elsewhere.example.org")
    assert get_environment() is StandardEnvironment


def test_variable_wins_over_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    be_called(monkeypatch, "login02.anvil.rcac.purdue.edu")
    monkeypatch.setenv("SIGNAC_FLOW_ENVIRONMENT", "DefaultPBSEnvironment")
    assert get_environment() is DefaultPBSEnvironment
    monkeypatch.setenv("SIGNAC_FLOW_ENVIRONMENT", "AnvilEnviroment")
    with pytest.raises(EnvironmentNotFound, match="AnvilEnviroment") as caught:
        get_environment()
    assert "AnvilEnvironment" in caught.value.hint


def test_environment_for_debugging_is_taken_wherever_it_is() -> None:
    class Debugged(DefaultSlurmEnvironment):
        DEBUG = True
        hostname_pattern = "nowhere"

    try:
        assert get_environment() is Debugged
    finally:
        Debugged.DEBUG = False


def test_test_environment_is_there_when_asked_for() -> None:
    assert get_environment(test=True) is TestEnvironment


def test_later_class_of_one_name_takes_the_place_of_the_former() -> None:
    first = make_environment(Cluster(name="Twice"))
    second = make_environment(Cluster(name="Twice"))
    found = [one for one in environments() if one.__name__ == "TwiceEnvironment"]
    assert found == [second]
    assert first is not second


def test_few_lines_add_a_cluster_that_chooses_its_partitions() -> None:
    lab = make_environment(
        Cluster(
            name="our lab",
            hostname_pattern=r"lab\d$",
            partitions=(
                Partition(name="cpu", cpus_per_node=8, max_walltime_s=3600),
                Partition(name="long", cpus_per_node=8, max_walltime_s=36000),
                Partition(name="gpu", cpus_per_node=8, gpus_per_node=2),
            ),
        )
    )
    assert lab.__name__ == "OurLabEnvironment"
    assert lab.place(Request(name="a")).partition == "cpu"
    assert lab.place(Request(name="a", walltime_s=7200)).partition == "long"
    assert lab.place(Request(name="a", gpus_per_process=1)).partition == "gpu"
    assert lab.place(Request(name="a", partition="special")).partition == "special"
    with pytest.raises(NoPartitionFits, match="fits into no partition of our lab"):
        lab.place(Request(name="a", threads_per_process=9))


def test_filters_and_options_are_inherited() -> None:
    class Mine(DefaultSlurmEnvironment):
        @template_filter
        def shout(cls, text: str) -> str:
            return f"{cls.__name__}: {text.upper()}"

        @classmethod
        def add_args(cls, parser: argparse.ArgumentParser) -> None:
            super().add_args(parser)
            parser.add_argument("--account")

    class Child(Mine):
        pass

    assert Child.filters()["shout"]("hey") == "Child: HEY"
    assert "get_prefix" in Child.filters()
    parser = argparse.ArgumentParser()
    Child.add_args(parser)
    assert parser.parse_args(["--account", "mine"]).account == "mine"


def test_prefix_sets_threads_and_starts_ranks() -> None:
    asked = SimpleNamespace(directives={"omp_num_threads": 4, "nranks": 2})
    assert ComputeEnvironment.get_prefix(asked) == "export OMP_NUM_THREADS=4; mpiexec -n 2 "
    assert ComputeEnvironment.get_prefix(asked, mpi_prefix="srun ") == "export OMP_NUM_THREADS=4; srun "
    assert ComputeEnvironment.get_prefix(asked, True, None, "time ") == "export OMP_NUM_THREADS=4; mpiexec -n 2 time "


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("AndesEnvironment", "srun -n 2 "),
        ("AnvilEnvironment", "mpirun -n 2 "),
        ("Bridges2Environment", "mpirun -n 2 "),
        ("DeltaEnvironment", "mpiexec -n 2 "),
        ("ExpanseEnvironment", "mpiexec -n 2 "),
        ("FrontierEnvironment", "srun --ntasks=2 --cpus-per-task=3 --gpus=4 "),
        ("GreatLakesEnvironment", "srun -u --export=ALL -n 2 "),
        ("MangiEnvironment", "mpiexec -n 2 "),
        ("PicotteEnvironment", "mpiexec -n 2 "),
    ],
)
def test_packaged_clusters_start_ranks_as_in_signac_flow(name: str, line: str) -> None:
    asked = SimpleNamespace(directives={"omp_num_threads": 3, "nranks": 2, "np": 6, "ngpu": 4})
    assert PACKAGED[name].get_prefix(asked) == "export OMP_NUM_THREADS=3; " + line


def test_one_rank_on_frontier_has_all_the_cores() -> None:
    asked = SimpleNamespace(directives={"nranks": 1, "np": 7, "ngpu": 1})
    assert PACKAGED["FrontierEnvironment"].get_prefix(asked) == "srun --ntasks=1 --cpus-per-task=7 --gpus=1 "


def test_a_cluster_says_what_starts_ranks_unless_its_environment_does() -> None:
    lab = Cluster(name="lab", mpi_command="srun --mpi=pmix")

    class Lab(DefaultSlurmEnvironment):
        cluster = lab

    class Own(Lab):
        cluster = Cluster(name="own")

    class Other(DefaultSlurmEnvironment):
        cluster = lab
        mpi_cmd = "mpirun"

    assert [one.mpi_cmd for one in (Lab, Own, Other)] == ["srun --mpi=pmix", "srun --mpi=pmix", "mpirun"]
    assert make_environment(lab).mpi_cmd == "srun --mpi=pmix"


def test_a_cluster_job_is_where_it_was_submitted_from() -> None:
    chosen = {module.SUBMITTED_FROM_VARIABLE: "AnvilEnvironment"}
    assert get_environment(variables=chosen) is PACKAGED["AnvilEnvironment"]
    assert (
        get_environment(variables=chosen | {"SIGNAC_FLOW_ENVIRONMENT": "DefaultPBSEnvironment"})
        is DefaultPBSEnvironment
    )
    # Perhaps only the program that submitted knows it.
    assert get_environment(variables={module.SUBMITTED_FROM_VARIABLE: "Notebook"}) is StandardEnvironment


def test_familiar_module_names_lead_there() -> None:
    from pointillist.environment import DefaultSlurmEnvironment as by_door
    from pointillist.environments import xsede
    from pointillist.scheduling.slurm import SlurmScheduler

    assert by_door is DefaultSlurmEnvironment
    assert xsede.Bridges2Environment is PACKAGED["Bridges2Environment"]
    assert SlurmScheduler.name == "slurm"
