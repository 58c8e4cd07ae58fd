"""The spool survives a torn write, and the journal hands over to the spooler when Redis is away."""

import time
from uuid import UUID

import pytest

from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.record import RecordType, unpack
from rivet.journal.spool import Spool, read_spool
from rivet.journal.stream import MAX_WAITING
from rivet.runner.journal import Journal
from rivet.runner.log_writer import LogWriter

JOB = JobId(UUID(int=1))


class Stream:
    """Takes records until it is told to be away."""

    def __init__(self) -> None:
        self.taken = []
        self.away = False
        self.lag, self.looks = 0, 0

    def send(self, packed):
        if self.away:
            raise Unavailable("away")
        self.taken += [unpack(one) for one in packed]
        return self.length()

    def length(self):
        self.looks += 1
        return self.lag - self.looks


@pytest.fixture
def stream():
    return Stream()


@pytest.fixture
def journal(tmp_path, stream):
    spool = Spool(tmp_path / "spool")
    yield Journal(JOB, Epoch(1), spool, stream)
    spool.close()


def seqs(path):
    return [record.seq for record, _ in read_spool(path)]


def test_records_are_numbered_from_one_without_gaps(tmp_path, journal, stream):
    for _ in range(3):
        journal.record(RecordType.SUMMARY, data={"markdown": "x"})
    assert [record.seq for record in stream.taken] == seqs(tmp_path / "spool") == [1, 2, 3]


@pytest.mark.parametrize("cut", [1, 4, 9, 30])
def test_a_torn_last_record_is_cut_off_and_its_number_given_again(tmp_path, journal, cut):
    for _ in range(3):
        journal.record(RecordType.SUMMARY, data={"markdown": "x"})
    path = tmp_path / "spool"
    path.write_bytes(path.read_bytes()[:-cut])
    again = Spool(path)
    assert again.last_seq == 2
    Journal(JOB, Epoch(1), again, Stream()).record(RecordType.JOB_DONE)
    again.close()
    assert seqs(path) == [1, 2, 3]


def test_once_redis_did_not_take_a_record_the_spooler_carries_the_rest(tmp_path, journal, stream):
    journal.record(RecordType.SUMMARY)
    stream.away = True
    journal.record(RecordType.SUMMARY)
    stream.away = False
    journal.record(RecordType.SUMMARY)
    assert [record.seq for record in stream.taken] == [1]
    assert seqs(tmp_path / "spool") == [1, 2, 3]


def test_what_may_go_later_goes_with_the_next_record_or_when_it_is_sent(tmp_path, journal, stream):
    journal.record(RecordType.ATTEMPT_STARTED, later=True)
    assert stream.taken == []
    assert seqs(tmp_path / "spool") == [1]
    journal.record(RecordType.SUMMARY)
    assert [record.seq for record in stream.taken] == [1, 2]
    with journal:
        journal.record(RecordType.ATTEMPT_ENDED, later=True)
    assert [record.seq for record in stream.taken] == [1, 2, 3]


def test_an_attempt_that_says_nothing_is_known_to_have_begun_soon(journal, stream):
    journal.record(RecordType.ATTEMPT_STARTED, later=True)
    with LogWriter(journal, StageKey("one"), 1, 10**6):
        deadline = time.monotonic() + 5
        while not stream.taken and time.monotonic() < deadline:
            time.sleep(0.001)
        assert [record.type for record in stream.taken] == [RecordType.ATTEMPT_STARTED]


def test_a_log_writer_waits_while_control_lags_and_nothing_else_does(journal, stream):
    stream.lag = MAX_WAITING + 4
    journal.record(RecordType.SUMMARY)
    assert stream.looks == 1
    journal.record(RecordType.LOG, data={"count": 1})
    assert stream.lag - stream.looks <= MAX_WAITING


def test_output_is_cut_into_lines_whatever_the_reads_were(journal, stream):
    with LogWriter(journal, StageKey("one"), 1, 10**6) as log:
        for piece in (b"on", b"e\ntw", b"o\n\nlast"):
            log.output("stdout", piece)
        log.say("info", "said\ntwice")
        log.finish()
    assert sorted(lines_of(stream)) == sorted(["one", "two", "", "said", "twice", "last"])
    assert log.lines == 6


def test_a_stage_that_says_too_much_is_told_that_it_was_cut(journal, stream):
    with LogWriter(journal, StageKey("one"), 1, 100) as log:
        log.output("stdout", b"x" * 60 + b"\n" + b"y" * 60 + b"\n" + b"z" * 60 + b"\n")
    assert lines_of(stream)[0] == "x" * 60
    assert "cut" in lines_of(stream)[1]
    assert len(lines_of(stream)) == 2


def lines_of(stream):
    import zstandard

    unpack_body = zstandard.ZstdDecompressor().decompress
    return [
        line
        for record in stream.taken
        if record.type is RecordType.LOG
        for line in unpack_body(record.body).decode().split("\n")
    ]
