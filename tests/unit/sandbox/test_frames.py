"""Frames: what goes in comes out, and bytes from a stranger are refused in bounds."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.domain.pipeline import Function
from rivet.sandbox import frames
from rivet.sandbox.frames import BadFrame, KeepNulls, length_of, pack, unpack

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
KEYS = st.text(st.characters(exclude_categories=["Cs"])) | st.integers(-(2**63), 2**63 - 1)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)


def as_lua_sees(value):
    """Bytes that are UTF-8 come back as text."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if isinstance(value, list):
        return [as_lua_sees(item) for item in value]
    if isinstance(value, dict):
        return {key: as_lua_sees(item) for key, item in value.items()}
    return value


@given(VALUES)
def test_what_is_packed_is_unpacked(value):
    packed = pack(value)
    assert length_of(packed[:4]) == len(packed) - 4
    assert unpack(packed[4:]) == as_lua_sees(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_refused(body):
    try:
        unpack(body)
    except BadFrame:
        pass


def test_a_function_is_its_line():
    assert unpack(b"X" + struct.pack("<I", 12)) == Function(12)


LIES = {
    "nothing": b"",
    "an unknown type": b"Z",
    "half a number": b"I\0\0",
    "a text longer than the frame": b"S" + struct.pack("<I", 2**32 - 1) + b"x",
    "a list longer than the frame": b"L" + struct.pack("<I", 99_999),
    "more entries than allowed": b"L" + struct.pack("<I", 100_001) + b"N" * 100_001,
    "too deep": b"".join(b"L" + struct.pack("<I", 1) for _ in range(41)) + b"N",
    "bytes behind the value": b"NN",
    "a table as a key": b"M" + struct.pack("<I", 1) + b"L" + struct.pack("<I", 0) + b"N",
    "nil as a key": b"M" + struct.pack("<I", 1) + b"NN",
    "nan as a key": b"M" + struct.pack("<I", 1) + b"D" + struct.pack("<d", float("nan")) + b"N",
    "a key twice": b"M" + struct.pack("<I", 2) + b"I" + bytes(8) + b"N" + b"I" + bytes(8) + b"N",
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES)
def test_bytes_that_lie_are_refused(body):
    with pytest.raises(BadFrame):
        unpack(body)


@pytest.mark.parametrize("length", [0, frames.MAX_BYTES + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_refused(length):
    with pytest.raises(BadFrame):
        length_of(struct.pack("<I", length))


UNFIT = [object(), {(): 1}, {None: 1}, [[[]] * 50_001] * 2, "x" * (frames.MAX_BYTES + 1)]


@pytest.mark.parametrize("value", UNFIT, ids=range(len(UNFIT)))
def test_what_lua_cannot_have_is_not_packed(value):
    with pytest.raises(BadFrame):
        pack(value)


def test_a_number_beyond_64_bits_becomes_a_double():
    assert unpack(pack(2**70)[4:]) == float(2**70)
    with pytest.raises(BadFrame):
        pack(10**400)


def test_none_is_nil_and_only_where_it_is_kept_null():
    assert pack([None, 1])[4:] == b"L\2\0\0\0NI" + (1).to_bytes(8, "little")
    assert pack([KeepNulls({"a": [None]}), None])[4:] == b"L\2\0\0\0M\1\0\0\0S\1\0\0\0aL\1\0\0\0ZN"
    with pytest.raises(BadFrame):
        unpack(b"Z")
