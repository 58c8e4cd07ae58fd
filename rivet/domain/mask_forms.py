"""The forms in which a secret's value may come back: what masking looks for."""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

LEAST_WHOLE = 4
"""A shorter value is in every other word: it is not masked, and whoever sets one is told so."""
LEAST_PART = 8
"""Of lines and encodings, anything shorter is left alone: it would be found in ordinary text."""

_MOST_WRAPPED = 8 * 1024
_MOST_LINES_ENCODED = 100
_BASE64_COLUMNS = (76, 64)
_HEX_COLUMNS = (60,)
_ARMOUR = re.compile(rb"-----(BEGIN|END) [A-Z0-9 ]+-----")


def is_maskable(value: bytes) -> bool:
    """Is it long enough to be told from ordinary text?"""
    return len(value.strip()) >= LEAST_WHOLE


def needles_of(value: bytes) -> set[bytes]:
    """Every sequence of bytes that gives the value, or a line of it, away."""
    whole = value.strip()
    if not is_maskable(value):
        return set()
    needles = {whole}
    lines = [line for line in _text_lines(whole) if len(line) >= LEAST_PART and not _ARMOUR.fullmatch(line)]
    for part in {whole, *lines}:
        encoded = _encoded(part) if part == whole or len(lines) <= _MOST_LINES_ENCODED else (part[::-1],)
        needles |= {form for form in (part, *encoded) if len(form) >= LEAST_PART}
    if len(whole) <= _MOST_WRAPPED:
        needles |= {form for form in _wrapped(whole) if len(form) >= LEAST_PART}
    return needles


def _text_lines(whole: bytes) -> list[bytes]:
    """Of a text of several lines; what is no text has none."""
    try:
        whole.decode()
    except UnicodeDecodeError:
        return []
    return [line.strip() for line in whole.splitlines()]


def _encoded(part: bytes) -> Iterator[bytes]:
    yield part[::-1]
    yield from _hexadecimal(part)
    for offset in range(3):
        yield from _base64(part, offset)
    for safe in ("", "/"):
        encoded = quote(part, safe=safe)
        yield encoded.encode()
        yield _lower_escapes(encoded)
    encoded = quote_plus(part)
    yield encoded.encode()
    yield _lower_escapes(encoded)
    try:
        text = part.decode()
    except UnicodeDecodeError:
        return
    yield text[::-1].encode()
    for plain in (True, False):
        yield json.dumps(text, ensure_ascii=plain)[1:-1].encode()


def _hexadecimal(part: bytes) -> Iterator[bytes]:
    lower = part.hex()
    yield lower.encode()
    yield lower.upper().encode()


def _base64(part: bytes, offset: int) -> Iterator[bytes]:
    """The letters that are the same whatever stands before (`offset` bytes, modulo 3) and after it."""
    first, last = -(-8 * offset // 6), 8 * (offset + len(part)) // 6
    encoded = base64.b64encode(bytes(offset) + part)[first:last]
    yield encoded
    yield encoded.replace(b"+", b"-").replace(b"/", b"_")


def _wrapped(whole: bytes) -> Iterator[bytes]:
    """The lines of a value that a tool encoded by itself."""
    for columns in _BASE64_COLUMNS:
        for encoded in _base64(whole, 0):
            yield from _lines(encoded, columns)
    for columns in _HEX_COLUMNS:
        for encoded in _hexadecimal(whole):
            yield from _lines(encoded, columns)


def _lines(encoded: bytes, columns: int) -> Iterator[bytes]:
    if len(encoded) > columns:
        for at in range(0, len(encoded), columns):
            yield encoded[at : at + columns]


def _lower_escapes(encoded: str) -> bytes:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), encoded).encode()
