from __future__ import annotations

import os

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointillist.definition.directives import evaluate
from pointillist.execution.running.machine import Machine, Needs, detect, threads_of

NEEDS = st.builds(
    Needs, cores=st.sampled_from([0.25, 1, 2]), gpus=st.integers(0, 2), memory_gb=st.sampled_from([0, 1.5])
)


@given(st.lists(NEEDS, max_size=20))
def test_nothing_is_handed_out_twice_and_all_of_it_comes_back(wishes: list[Needs]) -> None:
    machine = Machine(cores=4, gpus=("0", "1", "2"), memory_gb=4)
    held = []
    for needs in wishes:
        if not machine.fits(needs) and held:
            machine.give_back(held.pop(0))
        if machine.fits(needs):
            held.append(machine.take(needs))
        gpus = [gpu for grant in held for gpu in grant.gpus]
        assert len(gpus) == len(set(gpus))
        assert sum(grant.needs.cores for grant in held) <= 4
        assert sum(grant.needs.memory_gb for grant in held) <= 4
    for grant in held:
        machine.give_back(grant)
    assert machine.fits(Needs(4, 3, 4))


@pytest.mark.parametrize(
    ("needs", "words"),
    [(Needs(8), "8 cores"), (Needs(1, 1), "1 GPU,"), (Needs(1, 0, 99), "99 GB"), (Needs(2, 0, 3), "")],
)
def test_what_can_never_fit_is_said(needs: Needs, words: str) -> None:
    lack = Machine(cores=2, gpus=(), memory_gb=4).lacks(needs)
    assert words in lack
    assert bool(words) == bool(lack)


def test_directives_become_needs_and_threads() -> None:
    directives = evaluate({"nranks": 2, "omp_num_threads": 3, "ngpu": 1, "memory": "512m"})
    assert Needs.of(directives) == Needs(6, 1, 0.5)
    assert threads_of(directives) == 3
    assert threads_of(evaluate({"np": 4})) == 4


def test_gpus_are_those_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    machine = detect(processes=1)
    assert machine.gpus == ("3", "5")
    assert machine.take(Needs(1, 2)).variables(1)["CUDA_VISIBLE_DEVICES"] == "3,5"
    assert [detect(processes=1, gpus=number).gpus for number in (0, 1, 3)] == [(), ("3",), ("3", "5", "0")]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert detect(processes=1).gpus == ()


def test_what_is_there_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine = detect(processes=1)
    assert machine.cores == len(os.sched_getaffinity(0))
    installed = psutil.virtual_memory().total / 2**30
    assert 0 < machine.memory_gb <= installed * 1.01
    told = detect(processes=1, cores=3, gpus=2, memory_gb=0.5)
    assert (told.cores, len(told.gpus), told.memory_gb) == (3, 2, 0.5)


def test_more_processes_than_cores_share_the_cores() -> None:
    assert detect(processes=1000).cores == 1000
    assert detect(processes=1000, cores=3).cores == 3
