"""The log writer cuts what processes write into lines and chunks: nothing lost, nothing reordered, all bounded."""

from dataclasses import dataclass, field
from typing import Any

import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from rivet.domain.ids import StageKey
from rivet.domain.log import MAX_CHUNK_BYTES, MAX_LINE_BYTES, Line, decode_line, read_chunk
from rivet.domain.mask import Masker
from rivet.domain.record import RecordType
from rivet.runner.log_writer import LogWriter


@dataclass
class Heard:
    """A journal that keeps what it is told."""

    masker: Masker = field(default_factory=Masker)
    chunks: list[tuple[Any, bytes]] = field(default_factory=list)

    def record(self, type: RecordType, *, stage: StageKey, attempt: int, data: Any, body: bytes) -> int:
        assert (type, stage, attempt) == (RecordType.LOG, "s", 1)
        self.chunks.append((data, zstandard.ZstdDecompressor().decompress(body)))
        return len(self.chunks)

    def send(self) -> None:
        """Nothing is kept back."""

    def lines(self) -> list[Line]:
        return [line for data, body in self.chunks for line in read_chunk(data, body).lines()]

    def bytes(self) -> list[bytes]:
        return [decode_line(line.text) for line in self.lines()]


def written(*pieces: bytes, **limits: int) -> tuple[Heard, LogWriter]:
    heard = Heard()
    with LogWriter(heard, StageKey("s"), 1, **{"max_bytes": 1 << 30, **limits}) as writer:
        for piece in pieces:
            writer.output("stdout", piece)
    return heard, writer


_LINE = st.one_of(
    st.binary(max_size=200).map(lambda raw: raw.replace(b"\n", b".")),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300).map(str.encode),
    st.sampled_from([b"", b"\xc3\xa4\xe2\x86\x92", b"x" * 70_000, b"y" * MAX_LINE_BYTES]),
)


@settings(deadline=None)
@given(st.lists(_LINE, max_size=60), st.integers(1, 100_000))
def test_every_byte_comes_back_in_order_however_it_came(lines, size):
    data = b"\n".join(lines)
    heard, writer = written(*[data[at : at + size] for at in range(0, len(data), size)])
    expected = [
        line[at : at + MAX_LINE_BYTES] for line in lines for at in range(0, max(len(line), 1), MAX_LINE_BYTES)
    ]
    if lines and not lines[-1]:
        expected.pop()  # what follows the last line feed is no line
    assert heard.bytes() == expected
    assert [line.number for line in heard.lines()] == list(range(1, len(expected) + 1))
    assert writer.lines == len(expected)


def test_a_flood_is_cut_into_full_chunks():
    text = b"".join(b"%099d\n" % number for number in range(20_000))
    heard, _ = written(*[text[at : at + 262_144] for at in range(0, len(text), 262_144)])
    assert b"".join(line + b"\n" for line in heard.bytes()) == text
    assert all(len(body) <= MAX_CHUNK_BYTES for _, body in heard.chunks)
    assert all(len(data["marks"]) == 1 for data, _ in heard.chunks)


def test_streams_and_what_scripts_say_keep_their_order():
    heard = Heard()
    with LogWriter(heard, StageKey("s"), 1, 1 << 30) as writer:
        for number in range(300):
            writer.output("stdout", b"out %d\nmore\n" % number)
            writer.output("stderr", b"err %d\n" % number)
            writer.say("warn", f"said {number}")
    told = [(line.stream, line.level, line.text) for line in heard.lines()]
    assert told == [
        one
        for number in range(300)
        for one in (
            ("stdout", None, f"out {number}"), ("stdout", None, "more"), ("stderr", None, f"err {number}"),
            ("log", "warn", f"said {number}"),
        )
    ]  # fmt: skip


def test_what_is_over_a_limit_is_cut_at_the_same_line_whether_it_floods_or_drips():
    lines = [b"%07d" % number for number in range(1000)]
    flood, dripped = b"".join(line + b"\n" for line in lines), [line + b"\n" for line in lines]
    for limits in ({"max_lines": 500}, {"max_bytes": 4000}):
        at_once, writer = written(flood, **limits)
        one_by_one, _ = written(*dripped, **limits)
        assert at_once.bytes() == one_by_one.bytes()
        assert at_once.bytes()[:-1] == lines[:499]
        assert b"over the limit" in at_once.bytes()[-1]
        assert writer.over is not None


def test_a_secret_is_masked_in_a_flood_too():
    heard = Heard(Masker([b"s3cret-of-some-length"]))
    with LogWriter(heard, StageKey("s"), 1, 1 << 30) as writer:
        text = b"before s3cret-of-some-length after\n" * 9000
        for at in range(0, len(text), 100_003):
            writer.output("stdout", text[at : at + 100_003])
    assert heard.bytes() == [b"before *** after"] * 9000
