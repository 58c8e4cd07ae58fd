"""Log lines: a reversible encoding of any bytes as text, and chunks of whole lines of one attempt.

A line is shown as text, so control characters, bytes that are not UTF-8, and the code points of the
escape itself (U+F700 to U+F7FF) are written as U+F700 + byte. Decoding gives the very bytes back.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rivet.domain.errors import BadRecord

ESCAPE = 0xF700
MAX_LINE_BYTES = 64 * 1024
MAX_CHUNK_BYTES = 128 * 1024

_PLAIN = bytes((0x09, 0x0A, *range(0x20, 0x7F)))
_NEEDS_CARE = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\uf700-\uf7ff]")
_ESCAPED = re.compile("[\uf700-\uf7ff]")
_NOT_UTF_8 = re.compile("[\udc80-\udcff]")


def encode_line(raw: bytes) -> str:
    """The text that shows the bytes of one line; `decode_line` gives the bytes back. Tab is kept as it is."""
    text = raw.decode("utf-8", "surrogateescape")
    if text.isascii() and text.isprintable():
        return text
    text = _NEEDS_CARE.sub(lambda found: _escape(found[0].encode()), text)
    return _NOT_UTF_8.sub(lambda found: chr(ESCAPE + ord(found[0]) - 0xDC00), text)


def encode_plain(raw: bytes) -> str | None:
    """As `encode_line`, of whole lines joined by line feeds, without looking at each: a flood's way.

    None where a byte is not plain ASCII, or a line is over MAX_LINE_BYTES: then each is to be looked at.
    """
    if raw.translate(None, _PLAIN):
        return None
    at = 0
    while len(raw) - at > MAX_LINE_BYTES:
        at = raw.rfind(b"\n", at, at + MAX_LINE_BYTES + 1) + 1
        if at == 0:
            return None
    return raw.decode("ascii")


def decode_line(text: str) -> bytes:
    """The bytes that `encode_line` was given."""
    out = bytearray()
    at = 0
    for found in _ESCAPED.finditer(text):
        out += text[at : found.start()].encode()
        out.append(ord(found[0]) - ESCAPE)
        at = found.end()
    out += text[at:].encode()
    return bytes(out)


def _escape(raw: bytes) -> str:
    return "".join(chr(ESCAPE + byte) for byte in raw)


@dataclass(frozen=True, slots=True)
class Mark:
    """From line `offset` of the chunk on: when it was read, from which stream, at which level.

    `stream` is `stdout`, `stderr`, `log` (said by the script) or `rivet` (said by us).
    """

    offset: int
    at: str
    stream: str
    level: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    at: str
    stream: str
    level: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """Whole lines of one attempt; `first` is the number of the first, from 1 in its attempt."""

    first: int
    texts: Sequence[str]
    marks: Sequence[Mark]

    def header(self) -> dict[str, Any]:
        return chunk_header(self.first, len(self.texts), self.marks)

    def body(self) -> bytes:
        """The lines, joined by line feeds, as UTF-8 (encoded lines hold no line feed)."""
        return "\n".join(self.texts).encode()

    def lines(self) -> Iterator[Line]:
        marks = list(self.marks)
        current = marks.pop(0)
        for offset, text in enumerate(self.texts):
            while marks and marks[0].offset <= offset:
                current = marks.pop(0)
            yield Line(self.first + offset, current.at, current.stream, current.level, text)


def chunk_header(first: int, count: int, marks: Sequence[Mark]) -> dict[str, Any]:
    """What is told of a chunk beside its lines."""
    told = [[mark.offset, mark.at, mark.stream, mark.level] for mark in marks]
    return {"first": first, "count": count, "marks": told}


def read_chunk(header: Mapping[str, Any], body: bytes) -> Chunk:
    """The chunk whose header and (unpacked) body these are. Raises BadRecord if they do not fit together."""
    try:
        texts = body.decode().split("\n")
        marks = [
            Mark(int(offset), str(at), str(stream), None if level is None else str(level))
            for offset, at, stream, level in header["marks"]
        ]
        first, count = int(header["first"]), int(header["count"])
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BadRecord("a log chunk's header cannot be read") from error
    if count != len(texts) or first < 1 or not marks or marks[0].offset != 0:
        raise BadRecord(f"a log chunk says {count} lines from {first} and has {len(texts)}")
    return Chunk(first, texts, marks)
