"""Masking: what a stage says, without its secrets and the usual encodings of them.

A value is looked for as it is, as each of its lines, and each of these in base64 (at three offsets, plain and
for URLs, wrapped as tools wrap it), hexadecimal, URL and JSON encoding, and backwards. It is a net, not a
wall: who cuts a value into pieces, or encodes it in another way, gets it past.

Most needles hold a long run of letters and digits, which ordinary text seldom does. One pass finds such runs,
and only within them needles are compared; so text costs the same for one secret and for a hundred.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any

from rivet.domain.mask_forms import needles_of
from rivet.domain.secret import Opaque

MASK = b"***"

_RUN = 16
_A_RUN = b"a" * _RUN
_ALNUM = re.compile(rb"[0-9A-Za-z]{%d}" % _RUN)
_CLASSES = bytes(0x61 if chr(byte).isalnum() and byte < 128 else 0x20 for byte in range(256))
_HEAD = 8

Span = tuple[int, int]


class Masker:
    """Knows the secrets of one attempt. Safe among threads: `add` puts a new set in the old one's place."""

    def __init__(self, values: Iterable[bytes] = ()) -> None:
        self._values: frozenset[bytes] = frozenset(values)
        self._needles = _Needles(self._values)

    def add(self, value: bytes) -> None:
        """From now on this value is masked as well."""
        if value not in self._values:
            self._values |= {value}
            self._needles = _Needles(self._values)

    def mask(self, data: bytes) -> bytes:
        """All of `data`, with `***` for what must not be seen."""
        spans = self._needles.spans(data)
        return _covered(data, spans) if spans else data

    def mask_text(self, text: str) -> str:
        """As `mask`, of a text."""
        if not self._values:
            return text
        raw = text.encode("utf-8", "surrogatepass")
        masked = self.mask(raw)
        return text if masked is raw else masked.decode("utf-8", "replace")

    def mask_value(self, value: Any) -> Any:
        """As `mask`, of every text in a value as JSON or Lua has them, keys of tables too."""
        return self._masked(value) if self._values else value

    def stream(self) -> "MaskedStream":
        """For output that comes in pieces."""
        return MaskedStream(self)

    @property
    def needles(self) -> "_Needles":
        return self._needles

    def _masked(self, value: Any) -> Any:
        match value:
            case Enum() | Opaque():
                return value
            case str():
                return self.mask_text(value)
            case bytes():
                return self.mask(value)
            case Mapping():
                return {self._masked(key): self._masked(item) for key, item in value.items()}
            case list() | tuple():
                return [self._masked(item) for item in value]
        if is_dataclass(value) and not isinstance(value, type):
            parts = {each.name: self._masked(getattr(value, each.name)) for each in fields(value)}
            return replace(value, **parts)
        return value


class MaskedStream:
    """Output in pieces as it is read: what may be the beginning of a secret is held until more has come."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = b""
        self._already = 0  # so many bytes of what is held belong to a secret that was told as `***` before

    def feed(self, data: bytes) -> bytes:
        """What may be told after another piece."""
        needles = self._masker.needles
        if not needles.all and not self._held:
            return data
        whole = self._held + data
        return self._told(needles, whole, len(whole) - needles.begun_at_end_of(whole))

    def finish(self) -> bytes:
        """What was held, when no more will come."""
        return self._told(self._masker.needles, self._held, len(self._held))

    def _told(self, needles: "_Needles", whole: bytes, upto: int) -> bytes:
        spans = needles.spans(whole)
        begun = self._already
        if begun:
            spans = _merged([(0, begun), *spans])
        told = _covered(whole[:upto], [(start, min(end, upto)) for start, end in spans if start < upto])
        if begun and upto:
            told = told[len(MASK) :]  # the secret that goes on here has its `***` already
        over = max((end for start, end in spans if start < upto), default=0)
        self._already = max(0, over - upto) if upto or not begun else begun
        self._held = whole[upto:]
        return told


class _Needles:
    """What is looked for: needles with a long run by 16 bytes of it, the others by themselves."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self.all: tuple[bytes, ...] = tuple(sorted({each for value in values for each in needles_of(value)}))
        self._plain: list[bytes] = []
        self._anchored: dict[bytes, list[tuple[bytes, int]]] = {}
        for needle in self.all:
            run = _ALNUM.search(needle)
            if run is None:
                self._plain.append(needle)
            else:
                self._anchored.setdefault(run[0], []).append((needle, run.start()))
        self._begun = _Beginnings(self.all)
        self._begun_before_a_line_feed = _Beginnings([needle for needle in self.all if b"\n" in needle])

    def spans(self, data: bytes) -> list[Span]:
        """Where in `data` secrets are, in order, none touching another."""
        found: list[Span] = []
        for needle in self._plain:
            found += ((at, at + len(needle)) for at in _places(data, needle, 0, len(data)))
        if self._anchored:
            for start, end in _runs(data):
                found += self._in_run(data, start, end)
        return _merged(found) if found else found

    def begun_at_end_of(self, data: bytes) -> int:
        """How many of the last bytes may be the beginning of a needle."""
        begun = self._begun_before_a_line_feed if data.endswith(b"\n") else self._begun
        return begun.at_end_of(data)

    def _in_run(self, data: bytes, start: int, end: int) -> Iterator[Span]:
        for place, anchor in self._anchors_in(data, start, end):
            for needle, offset in self._anchored[anchor]:
                begin = place - offset
                if begin >= 0 and data.startswith(needle, begin):
                    yield begin, begin + len(needle)

    def _anchors_in(self, data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
        """By whichever way is shorter: look for each anchor, or look each 16 bytes up."""
        if len(self._anchored) < end - start:
            for anchor in self._anchored:
                for place in _places(data, anchor, start, end):
                    yield place, anchor
            return
        for place in range(start, end - _RUN + 1):
            anchor = data[place : place + _RUN]
            if anchor in self._anchored:
                yield place, anchor


class _Beginnings:
    """Tells how much of some needle a text ends with."""

    def __init__(self, needles: Sequence[bytes]) -> None:
        self._long = [(needle[:_HEAD], needle) for needle in needles if len(needle) > _HEAD]
        self._short = {needle[:size] for needle in needles for size in range(1, min(_HEAD, len(needle)))}

    def at_end_of(self, data: bytes) -> int:
        size, most = len(data), 0
        for head, needle in self._long:
            at = data.find(head, max(0, size - len(needle) + 1))
            while at >= 0 and size - at > most:
                if needle.startswith(data[at:]):
                    most = size - at
                at = data.find(head, at + 1)
        if most == 0 and self._short:
            sizes = range(min(_HEAD - 1, size), 0, -1)
            most = next((each for each in sizes if data[-each:] in self._short), 0)
        return most


def _places(data: bytes, needle: bytes, start: int, end: int) -> Iterator[int]:
    """Every place, those too where it overlaps itself."""
    at = data.find(needle, start, end)
    while at >= 0:
        yield at
        at = data.find(needle, at + 1, end)


def _runs(data: bytes) -> Iterator[Span]:
    """Where 16 or more letters and digits follow each other."""
    classes = data.translate(_CLASSES)
    start = classes.find(_A_RUN)
    while start >= 0:
        end = classes.find(b" ", start + _RUN)
        end = end if end >= 0 else len(classes)
        yield start, end
        start = classes.find(_A_RUN, end)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """In order; what overlaps is one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _covered(data: bytes, spans: Sequence[Span]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for start, end in spans:
        parts += data[at:start], MASK
        at = end
    parts.append(data[at:])
    return b"".join(parts)
