"""Log lines keep their bytes, whatever these are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rivet.domain.errors import BadRecord
from rivet.domain.log import Chunk, Mark, decode_line, encode_line, read_chunk


@given(st.binary())
def test_any_bytes_come_back_as_they_were(raw):
    assert decode_line(encode_line(raw)) == raw


@given(st.text())
def test_any_text_comes_back_as_it_was(text):
    assert decode_line(encode_line(text.encode("utf-8", "surrogatepass"))) == text.encode("utf-8", "surrogatepass")


@given(st.binary())
def test_what_is_shown_holds_no_control_character_and_can_be_stored(raw):
    shown = encode_line(raw)
    assert not any((ord(char) < 32 and char != "\t") or 0x7F <= ord(char) < 0xA0 for char in shown)
    shown.encode()


def test_plain_text_is_shown_as_it_is():
    assert encode_line("größer\t→ 12".encode()) == "größer\t→ 12"


def test_the_escape_itself_is_escaped():
    assert encode_line("\uf741".encode()) != "\uf741"


def test_lines_of_a_chunk_bear_the_mark_that_stands_before_them():
    chunk = Chunk(7, ["a", "b", "c"], [Mark(0, "t0", "stdout"), Mark(2, "t1", "log", "warn")])
    lines = list(read_chunk(chunk.header(), chunk.body()).lines())
    assert [(line.number, line.text, line.stream, line.level) for line in lines] == [
        (7, "a", "stdout", None), (8, "b", "stdout", None), (9, "c", "log", "warn"),
    ]


@pytest.mark.parametrize(
    "header",
    [{}, {"first": 1, "count": 3, "marks": [[0, "t", "stdout", None]]}, {"first": 1, "count": 1, "marks": []}],
)
def test_a_header_that_does_not_fit_its_lines_is_refused(header):
    with pytest.raises(BadRecord):
        read_chunk(header, b"one line")
