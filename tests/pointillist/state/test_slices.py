"""Work in slices gives the same as work in one go, whatever becomes of the copies."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import psutil
import pytest

from pointillist.state import slices


@pytest.fixture(autouse=True)
def four_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "SMALLEST_SLICE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(4)))


def members(parts: list[Any]) -> list[int]:
    return [number for part in parts for number in part]


@pytest.mark.parametrize("count", [0, 1, 3, 4, 1000])
def test_every_thing_is_worked_on_once_and_in_order(count: int) -> None:
    assert members(slices.in_slices(count, lambda begin, end: list(range(begin, end)))) == list(range(count))


def test_a_system_that_does_not_tell_which_cores_are_ours_has_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert len(set(slices.in_slices(4, lambda begin, end: os.getpid()))) == 2


def test_copies_write_to_shared_memory() -> None:
    column = slices.shared_bytes(100)

    def work(begin: int, end: int) -> int:
        for place in range(begin, end):
            column[place] = place
        return os.getpid()

    pids = slices.in_slices(100, work)
    assert bytes(column) == bytes(range(100))
    assert len(set(pids)) == 4


@pytest.mark.parametrize("end", ["kill", "raise", "exit", "not plain"])
def test_the_slice_of_a_copy_that_dies_is_done_here(end: str) -> None:
    here = os.getpid()

    def work(begin: int, stop: int) -> Any:
        if os.getpid() != here and begin >= 50:
            if end == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if end == "exit":
                os._exit(0)
            if end == "not plain":
                return [object()]
            raise RuntimeError
        return list(range(begin, stop))

    assert members(slices.in_slices(100, work)) == list(range(100))


def test_an_error_is_raised_here_and_leaves_no_copy_behind() -> None:
    def work(begin: int, end: int) -> int:
        raise LookupError(str(begin))

    before = psutil.Process().children()
    with pytest.raises(LookupError, match="0"):
        slices.in_slices(100, work)
    assert psutil.Process().children() == before


def test_beside_other_threads_nothing_is_copied() -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert slices.in_slices(100, lambda begin, end: os.getpid()) == [os.getpid()]
    finally:
        stop.set()
        thread.join()
