"""Journal records survive packing, and garbage is never taken for one."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.domain.errors import BadRecord
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.record import Record, RecordType, pack, unpack


def a_record(**changes):
    plain = {
        "job": JobId(UUID(int=1)), "epoch": Epoch(1), "seq": 1, "at": "2030-01-01T00:00:00.000Z",
        "type": RecordType.LOG, "stage": StageKey("one"), "attempt": 1, "data": {"count": 1}, "body": b"\0\xff",
    }
    return Record(**(plain | changes))


def test_a_record_comes_back_as_it_was():
    assert unpack(pack(a_record())) == a_record()


@given(st.binary(max_size=400))
def test_garbage_is_refused_and_nothing_else_happens(garbage):
    with pytest.raises(BadRecord):
        unpack(garbage)


@given(st.integers(0, 300), st.binary(min_size=1, max_size=3))
def test_a_damaged_record_is_read_or_refused(at, noise):
    packed = bytearray(pack(a_record()))
    packed[at % len(packed) : at % len(packed) + len(noise)] = noise
    try:
        unpack(bytes(packed))
    except BadRecord:
        pass


@pytest.mark.parametrize("seq", [0, -1, 2**60])
def test_a_seq_out_of_its_range_is_refused(seq):
    with pytest.raises(BadRecord):
        unpack(pack(a_record(seq=seq)))


def test_a_record_over_the_bound_is_not_written():
    with pytest.raises(BadRecord, match="bound"):
        pack(a_record(body=b"x" * (2 * 1024 * 1024)))
