"""Opaque values in frames: names of secrets and literal bytes, and nothing that only looks like them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.domain.secret import MAX_PARTS, Opaque, Reference
from rivet.sandbox.frames import BadFrame, pack, unpack

PARTS = st.lists(
    st.binary(max_size=20) | st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True).map(Reference),
    min_size=1, max_size=6,
)


@given(st.recursive(PARTS.map(lambda parts: Opaque(tuple(parts))), lambda inner: st.lists(inner, max_size=3)))
def test_what_is_packed_is_unpacked(value):
    assert unpack(pack(value)[4:]) == value


def part(tag, raw):
    return tag + struct.pack("<I", len(raw)) + raw


@pytest.mark.parametrize(
    "body",
    [
        b"O" + struct.pack("<I", 0),
        b"O" + struct.pack("<I", MAX_PARTS + 1) + part(b"S", b"") * (MAX_PARTS + 1),
        b"O" + struct.pack("<I", 1) + part(b"R", b"lower"),
        b"O" + struct.pack("<I", 1) + part(b"R", b"\xff"),
        b"O" + struct.pack("<I", 1) + part(b"I", b"12345678"),
        b"O" + struct.pack("<I", 2) + part(b"S", b"x"),
        b"O" + struct.pack("<I", 1) + b"S" + struct.pack("<I", 9) + b"x",
        part(b"R", b"TOKEN"),
        b"M" + struct.pack("<I", 1) + b"O" + struct.pack("<I", 1) + part(b"R", b"A") + b"T",
    ],
)
def test_what_is_none_is_refused(body):
    with pytest.raises(BadFrame):
        unpack(body)
