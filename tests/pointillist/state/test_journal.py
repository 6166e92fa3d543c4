from __future__ import annotations

import json
import time
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
    writer.withdraw([withdrawn])
    other = Sessions(str(tmp_path)).open()
    writer_elsewhere = JournalWriter(Journal(str(tmp_path / "journal")), other)
    elsewhere = writer_elsewhere.start("work", "c", log="")
    journal.catch_up()
    assert journal.attempts() == [kept, elsewhere]
    writer.end(kept, Outcome.FAILED, exit_code=1)
    writer_elsewhere.end(elsewhere, Outcome.FAILED, exit_code=2)
    journal.catch_up()
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


ODD = [
    [],
    7,
    None,
    "text",
    {},
    {"event": ["start"]},
    *({"event": "withdrawn", "attempt": odd} for odd in ([], {}, None, 1)),
    *({"event": "usage", "attempts": odd, "cpu_s": 1, "peak_memory_bytes": 1} for odd in (5, [[]], None, [{}])),
]


@pytest.mark.parametrize("odd", [[], {}, 3, True, None, "text", 1e300, -5, [[1]]], ids=repr)
def test_no_field_of_an_unexpected_type_stops_a_reader(tmp_path: Path, session: Session, odd: object) -> None:
    first, second = write(tmp_path, session)
    (file,) = (tmp_path / "journal").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    kinds = [lines[0] | {"cluster_job": None}, lines[1] | {"began": 1.5, "cpu_s": 1.0, "peak_memory_bytes": 4}]
    damaged = [kind | {field: odd} for kind in kinds for field in kind] + ODD
    for line in damaged:
        file.write_text("".join(json.dumps(one) + "\n" for one in [line, *lines, line]))
        for journal in (Journal(str(tmp_path / "journal")), Journal(str(tmp_path / "journal"), only=["a", "b"])):
            attempts = journal.attempts()
            assert second in attempts
            assert {first.id, second.id} <= {attempt.id for attempt in attempts} | {str(line)}
            for attempt in attempts:
                hash((attempt.operation, attempt.aggregate_id, attempt.id, attempt.cluster_job, attempt.batch))
                time.gmtime(attempt.started)
                assert journal.last(attempt.operation, attempt.aggregate_id) is not None
            journal.failed()


def test_lines_that_are_no_records_are_told_of_once_and_lines_cut_off_are_not(tmp_path: Path, session: Session) -> None:
    write(tmp_path, session)
    (file,) = (tmp_path / "journal").iterdir()
    text = file.read_bytes()
    file.write_bytes(text + b'{"event":"end","att\n\xff\xfe\n{"event":"of a later version"}\n{"event":"st')
    journal = Journal(str(tmp_path / "journal"))
    assert len(journal.attempts()) == 2
    assert journal.trouble() is None
    file.write_bytes(b"[1]\n" + text + b"2\n")
    journal = Journal(str(tmp_path / "journal"))
    assert len(journal.attempts()) == 2
    journal.catch_up()
    said = "Passed over in the journal, because it is no record of an attempt: [1] (and 1 more)"
    assert str(journal.trouble()) == said
