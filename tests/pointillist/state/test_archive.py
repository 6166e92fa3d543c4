"""Gathering journal files loses nothing: readers see the same attempts before, in between and after."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from pointillist.state import archive
from pointillist.state.journal import Attempt, Journal, JournalWriter, Outcome
from pointillist.state.sessions import Sessions


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "GATHER_FROM", 5)


def run_session(sessions: Sessions, tmp_path: Path, name: str) -> None:
    session = sessions.open()
    writer = JournalWriter(Journal(str(tmp_path / "journal")), session)
    writer.end(writer.start("work", name, log="x"), Outcome.FAILED, exit_code=1, message=f"for {name}")
    writer.start("work", f"{name} again", log="y")
    writer.close()
    session.close()


def read(tmp_path: Path) -> list[Attempt]:
    return Journal(str(tmp_path / "journal")).attempts()


def files(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "journal").glob("*.jsonl"))


def test_files_of_ended_sessions_become_one_with_the_same_attempts(tmp_path: Path) -> None:
    sessions = Sessions(str(tmp_path))
    alive = sessions.open()
    writer = JournalWriter(Journal(str(tmp_path / "journal")), alive)
    writer.start("work", "alive", log="z")
    for number in range(4):
        run_session(sessions, tmp_path, str(number))
    before = read(tmp_path)
    assert len(before) == 9
    assert len(files(tmp_path)) == 5
    run_session(sessions, tmp_path, "4")  # its own session lives while it closes its journal
    run_session(sessions, tmp_path, "5")
    after = read(tmp_path)
    assert [a for a in after if a.id in {b.id for b in before}] == before
    assert len(after) == 13
    assert len(files(tmp_path)) < 5
    assert f"{alive.id}.jsonl" in files(tmp_path)
    writer.close()
    alive.close()


def test_archives_are_gathered_too(tmp_path: Path) -> None:
    sessions = Sessions(str(tmp_path))
    for number in range(60):
        run_session(sessions, tmp_path, str(number))
    assert len(read(tmp_path)) == 120
    assert len(files(tmp_path)) <= 10


def test_killed_at_any_step_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(str(tmp_path))
    monkeypatch.setattr(archive, "GATHER_FROM", 1000)
    for number in range(6):
        run_session(sessions, tmp_path, str(number))
    expected = read(tmp_path)
    monkeypatch.setattr(archive, "GATHER_FROM", 5)

    class Killed(BaseException):
        pass

    for step in range(12):
        left = [step]

        def count(original, left=left):
            def call(*arguments, **options):
                if left[0] == 0:
                    raise Killed
                left[0] -= 1
                return original(*arguments, **options)

            return call

        with monkeypatch.context() as patch:
            for name in ("rename", "unlink", "fsync"):
                patch.setattr(os, name, count(getattr(os, name)))
            with contextlib.suppress(Killed):
                archive.gather(str(tmp_path / "journal"), sessions.is_alive)
        assert read(tmp_path) == expected
    archive.gather(str(tmp_path / "journal"), sessions.is_alive)
    assert read(tmp_path) == expected


def test_draft_of_one_who_was_killed_goes_with_the_next_gathering(tmp_path: Path) -> None:
    sessions = Sessions(str(tmp_path))
    for number in range(3):
        run_session(sessions, tmp_path, str(number))
    (tmp_path / "journal" / "archive-0123456789abcdef.draft").write_text("{}")
    for number in range(4):
        run_session(sessions, tmp_path, str(number))
    assert list((tmp_path / "journal").glob("*.draft")) == []
    assert len(read(tmp_path)) == 14


def test_a_file_gathered_under_the_eyes_of_a_reader_is_read_in_the_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(str(tmp_path))
    monkeypatch.setattr(archive, "GATHER_FROM", 1000)
    for number in range(6):
        run_session(sessions, tmp_path, str(number))
    expected = read(tmp_path)
    monkeypatch.setattr(archive, "GATHER_FROM", 5)
    listdir = os.listdir
    done = []

    def listed(path: str) -> list[str]:
        names = listdir(path)
        if not done and path.endswith("journal"):
            done.append(True)
            archive.gather(path, sessions.is_alive)
        return names

    monkeypatch.setattr(os, "listdir", listed)
    assert read(tmp_path) == expected
    assert files(tmp_path)[0].startswith("archive-")


def test_a_listing_that_shows_neither_the_files_nor_their_archive_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = Sessions(str(tmp_path))
    monkeypatch.setattr(archive, "GATHER_FROM", 1000)
    for number in range(6):
        run_session(sessions, tmp_path, str(number))
    expected = read(tmp_path)
    monkeypatch.setattr(archive, "GATHER_FROM", 5)
    listdir = os.listdir
    done = []

    def listed(path: str) -> list[str]:
        # A large folder is listed in several steps: the archive may come where we have been, and the files go where
        # we have not been yet.
        if not done and path.endswith("journal"):
            done.append(True)
            archive.gather(path, sessions.is_alive)
            return [name for name in listdir(path) if not archive.is_archive(name)]
        return listdir(path)

    os.utime(tmp_path / "journal", (1, 1))
    monkeypatch.setattr(os, "listdir", listed)
    assert read(tmp_path) == expected


def test_a_line_cut_off_spoils_only_itself(tmp_path: Path) -> None:
    sessions = Sessions(str(tmp_path))
    for number in range(4):
        run_session(sessions, tmp_path, str(number))
    for name in files(tmp_path):
        with open(tmp_path / "journal" / name, "ab") as file:
            file.write(b'{"event":"end","att')
    run_session(sessions, tmp_path, "4")
    run_session(sessions, tmp_path, "5")
    assert len(files(tmp_path)) < 5
    assert len(read(tmp_path)) == 12
