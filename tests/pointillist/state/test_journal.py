from __future__ import annotations

from pathlib import Path

import pytest

from pointillist.state.journal import Attempt, Journal, JournalWriter, Outcome
from pointillist.state.sessions import Session, Sessions


@pytest.fixture
def session(tmp_path: Path):
    session = Sessions(str(tmp_path)).open()
    yield session
    session.close()


def write(tmp_path: Path, session: Session) -> tuple[Attempt, Attempt]:
    writer = JournalWriter(Journal(str(tmp_path / "journal")), session)
    first = writer.start("work", "a", log="x.log")
    writer.end(first, Outcome.FAILED, exit_code=3, message="exit code 3", fingerprint="f")
    second = writer.start("work", "b", log="y.log", batch="1")
    writer.close()
    return first, second


def test_what_is_written_is_read(tmp_path: Path, session: Session) -> None:
    first, second = write(tmp_path, session)
    journal = Journal(str(tmp_path / "journal"))
    assert journal.attempts() == [first, second]
    assert journal.last("work", "a") == first
    assert journal.last("work", "b").outcome is None
    assert journal.last("work", "c") is None


def test_cut_off_and_foreign_lines_are_skipped(tmp_path: Path, session: Session) -> None:
    first, second = write(tmp_path, session)
    (file,) = (tmp_path / "journal").iterdir()
    with open(file, "ab") as damaged:
        damaged.write(b'[1]\n{"event":"end","attempt":"nobody"}\n{"event":"new"}\n\xff\xfe\n{"event":"start","att')
    assert Journal(str(tmp_path / "journal")).attempts() == [first, second]


def test_every_cut_of_the_file_can_be_read(tmp_path: Path, session: Session) -> None:
    write(tmp_path, session)
    (file,) = (tmp_path / "journal").iterdir()
    content = file.read_bytes()
    seen = set()
    for length in range(len(content) + 1):
        file.write_bytes(content[:length])
        seen.add(len(Journal(str(tmp_path / "journal")).attempts()))
    assert seen == {0, 1, 2}


def test_no_journal_is_an_empty_journal(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "nothing")).attempts() == []
