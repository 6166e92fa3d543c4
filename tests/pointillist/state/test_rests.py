from __future__ import annotations

from pathlib import Path

import pytest

from pointillist.state.rests import FIRST_REST_S, LONGEST_REST_S, Rests


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_asks_for_a_longer_rest_that_all_commands_share(tmp_path: Path) -> None:
    clock, lengths = Clock(), []
    for _ in range(12):
        Rests(str(tmp_path), clock).failed("slurm", "it is down")
        rest = Rests(str(tmp_path), clock).of("slurm")
        assert rest is not None
        assert rest.words == "it is down"
        lengths.append(rest.left_s)
        clock.now += rest.left_s
        assert Rests(str(tmp_path), clock).of("slurm") is None
    assert lengths[:3] == [FIRST_REST_S, 2 * FIRST_REST_S, 4 * FIRST_REST_S]
    assert lengths[-1] == LONGEST_REST_S
    assert Rests(str(tmp_path), clock).of("lsf") is None


def test_an_answer_ends_the_trouble_and_a_person_the_rest(tmp_path: Path) -> None:
    rests = Rests(str(tmp_path), Clock())
    rests.failed("slurm", "down")
    rests.failed("slurm", "down")
    rests.end()
    assert rests.of("slurm") is None
    rests.failed("slurm", "down")
    assert rests.of("slurm").left_s == 4 * FIRST_REST_S
    rests.answered("slurm")
    rests.failed("slurm", "down")
    assert rests.of("slurm").left_s == FIRST_REST_S


@pytest.mark.parametrize("text", ["", "[]", "{", '{"slurm": 3}', '{"slurm": {"count": 1, "until": 1e12, "words": ""}}'])
def test_what_can_not_be_read_or_believed_asks_for_no_rest(tmp_path: Path, text: str) -> None:
    (tmp_path / "rests.json").write_text(text)
    assert Rests(str(tmp_path), Clock()).of("slurm") is None


def test_folder_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    rests = Rests(str(tmp_path / "nowhere"))
    rests.failed("slurm", "down")
    rests.end()
    assert rests.of("slurm") is None
