from __future__ import annotations

from pathlib import Path

import pytest

from pointillist.state.journal import Attempt, Journal, JournalWriter, Outcome, Usage
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


def test_what_a_process_has_recorded_itself_is_known_beside_what_others_record_meanwhile(
    tmp_path: Path, session: Session
) -> None:
    journal = Journal(str(tmp_path / "journal"))
    writer = JournalWriter(journal, session)
    kept, withdrawn = (writer.start("work", name, log="") for name in "ab")
    writer.withdraw(withdrawn)
    other = Sessions(str(tmp_path)).open()
    writer_elsewhere = JournalWriter(Journal(str(tmp_path / "journal")), other)
    elsewhere = writer_elsewhere.start("work", "c", log="")
    assert journal.attempts() == [kept, elsewhere]
    writer.end(kept, Outcome.FAILED, exit_code=1)
    writer_elsewhere.end(elsewhere, Outcome.FAILED, exit_code=2)
    journal.forget()
    assert journal.attempts() == [kept, elsewhere]
    assert journal.failed() == [("work", "a"), ("work", "c")]
    writer.close()
    writer_elsewhere.close()
    other.close()


def test_no_journal_is_an_empty_journal(tmp_path: Path) -> None:
    assert Journal(str(tmp_path / "nothing")).attempts() == []


def test_attempts_at_some_tasks_are_read_as_if_all_were(tmp_path: Path, session: Session) -> None:
    writer = JournalWriter(Journal(str(tmp_path / "journal")), session)
    for number in range(12):
        attempt = writer.start("work", f"job{number}", log="x.log")
        writer.end(attempt, Outcome.FAILED, exit_code=1, message="like job3", usage=Usage(1.0, number))
        again = writer.start("other", f"job{number}", log="x.log", batch="b")
        writer.end(again, Outcome.COMPLETED)
        writer.use([again], Usage(2.0, number))
    writer.close()
    everything = Journal(str(tmp_path / "journal"))
    for chosen in (["job1"], ["job3", "job11"], [], ["job99"]):
        some = Journal(str(tmp_path / "journal"), only=chosen)
        for job in chosen:
            for operation in ("work", "other"):
                assert some.last(operation, job) == everything.last(operation, job)
    assert Journal(str(tmp_path / "journal"), only=["job99"]).attempts() == []
    assert len(Journal(str(tmp_path / "journal"), only=[f"job{n}" for n in range(21)]).attempts()) == 24
