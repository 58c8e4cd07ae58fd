"""Frames between the supervisor and its Lua child: four bytes of length, then one value in a typed encoding.

    N nil · T true · F false · I int64 · D double · S bytes · L list · M table · X function, as its line
    Z json.null (to Lua only: what comes from there says N)
    O opaque value, a list of S (literal) and R (the name of a secret) · R stands nowhere else

All numbers are little-endian. What comes from the child is a stranger's bytes: every length is checked
against what is there before it is believed, and depth, entries and size are bounded.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rivet.domain.pipeline import Function
from rivet.domain.secret import MAX_PARTS, NAME, Opaque, Reference

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 40
"""More than the 30 tables that a script may nest: a frame has lists of its own around them."""
MAX_ENTRIES = 100_000

_LENGTH = struct.Struct("<I")
_WHOLE = struct.Struct("<q")
_DOUBLE = struct.Struct("<d")


class BadFrame(Exception):
    """Bytes from the child are no frame, or a value is one that a frame cannot hold."""


@dataclass(frozen=True, slots=True)
class KeepNulls:
    """A value each None of which is `json.null` in Lua. Else it is nil, which no table can hold."""

    value: Any


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value that is encoded already, as one that goes into many frames: `encode` makes it."""

    raw: bytes
    entries: int


def encode(value: Any) -> Encoded:
    """Raises BadFrame for what Lua has no type for."""
    parts: list[bytes] = []
    entries = _encode(value, parts, 1, b"N")
    return Encoded(b"".join(parts), entries)


def pack(value: Any, limit: int = MAX_BYTES) -> bytes:
    """A frame that holds `value`. Raises BadFrame for what Lua has no type for, or what is too large."""
    parts: list[bytes] = []
    entries = _encode(value, parts, 0, b"N")
    body = b"".join(parts)
    if len(body) > limit or entries > MAX_ENTRIES:
        raise BadFrame(
            f"a value of {len(body)} bytes and {entries} entries is over the bound "
            f"of {limit} and {MAX_ENTRIES}"
        )
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes, limit: int = MAX_BYTES) -> int:
    """How many bytes follow the four bytes of a frame's head. Raises BadFrame if over `limit`."""
    (length,) = _LENGTH.unpack(head)
    if not 0 < length <= limit:
        raise BadFrame(f"a frame says that it has {length} bytes; 1 to {limit} are allowed")
    return int(length)


def unpack(body: bytes) -> Any:
    """The value in a frame's body. Text that is not UTF-8 stays bytes. Raises BadFrame."""
    reader = _Reader(body)
    try:
        value = reader.value(0)
    except (struct.error, IndexError) as error:
        raise BadFrame("a frame ends in the middle of a value") from error
    if reader.at != len(body):
        raise BadFrame(f"{len(body) - reader.at} bytes stand after a frame's value")
    return value


def _encode(value: Any, parts: list[bytes], depth: int, none: bytes) -> int:
    """Append `value` to `parts`, each None as `none`; how many entries its tables have in all."""
    match value:
        case None:
            parts.append(none)
        case True:
            parts.append(b"T")
        case False:
            parts.append(b"F")
        case int() if -(2**63) <= value < 2**63:
            parts.append(b"I" + _WHOLE.pack(value))
        case int() | float():
            parts.append(b"D" + _DOUBLE.pack(_as_double(value)))
        case str() | bytes():
            raw = value if isinstance(value, bytes) else _raw(value)
            parts.append(b"S" + _LENGTH.pack(len(raw)) + raw)
        case list() | tuple() | Mapping():
            return _encode_table(value, parts, depth, none)
        case Opaque():
            return _encode_opaque(value, parts)
        case Encoded():
            parts.append(value.raw)
            return value.entries
        case KeepNulls():
            return _encode(value.value, parts, depth, b"Z")
        case _:
            raise BadFrame(f"a {type(value).__name__} cannot be handed to Lua")
    return 0


def _encode_table(value: Any, parts: list[bytes], depth: int, none: bytes) -> int:
    if depth >= MAX_DEPTH:
        raise BadFrame(f"a value is nested deeper than {MAX_DEPTH} tables")
    entries = len(value)
    if isinstance(value, Mapping):
        parts.append(b"M" + _LENGTH.pack(len(value)))
        for key, item in value.items():
            if not isinstance(key, str | int | float) or key != key:
                raise BadFrame(f"a {type(key).__name__} cannot be a key in Lua")
            _encode(key, parts, depth, none)
            entries += _encode(item, parts, depth + 1, none)
    else:
        parts.append(b"L" + _LENGTH.pack(len(value)))
        for item in value:
            entries += _encode(item, parts, depth + 1, none)
    return entries


def _encode_opaque(value: Opaque, parts: list[bytes]) -> int:
    parts.append(b"O" + _LENGTH.pack(len(value.parts)))
    for part in value.parts:
        tag, raw = (b"R", part.name.encode()) if isinstance(part, Reference) else (b"S", part)
        parts.append(tag + _LENGTH.pack(len(raw)) + raw)
    return len(value.parts)


def _raw(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise BadFrame("a text holds half of a surrogate pair, which is no character") from None


def _as_double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise BadFrame("a whole number is larger than any number of Lua") from None


class _Reader:
    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0
        self.entries = 0

    def value(self, depth: int) -> Any:
        tag = self.body[self.at]
        self.at += 1
        match tag:
            case 0x53:
                return self.text()
            case 0x49:
                return self.number(_WHOLE)
            case 0x44:
                return self.number(_DOUBLE)
            case 0x4E:
                return None
            case 0x54:
                return True
            case 0x46:
                return False
            case 0x4C:
                return [self.value(depth + 1) for _ in range(self.count(depth, smallest=1))]
            case 0x4D:
                return self.table(depth)
            case 0x58:
                return Function(self.number(_LENGTH))
            case 0x4F:
                return self.opaque(depth)
        raise BadFrame(f"a frame holds a value of unknown type 0x{tag:02x}")

    def number(self, form: struct.Struct) -> Any:
        (number,) = form.unpack_from(self.body, self.at)
        self.at += form.size
        return number

    def text(self) -> str | bytes:
        raw = self.raw()
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return raw

    def raw(self) -> bytes:
        start = self.at + 4
        end = start + int.from_bytes(self.body[self.at : start], "little")
        if start > len(self.body) or end > len(self.body):
            raise BadFrame(f"a text says that it has {end - start} bytes, {len(self.body) - start} are left")
        self.at = end
        return self.body[start:end]

    def opaque(self, depth: int) -> Opaque:
        parts: list[bytes | Reference] = []
        count = self.count(depth, smallest=5)
        if not 0 < count <= MAX_PARTS:
            raise BadFrame(f"an opaque value says that it has {count} parts; 1 to {MAX_PARTS} are allowed")
        for _ in range(count):
            tag = self.body[self.at]
            self.at += 1
            raw = self.raw()
            if tag == 0x53:
                parts.append(raw)
            elif tag == 0x52 and NAME.fullmatch(name := raw.decode("ascii", "replace")):
                parts.append(Reference(name))
            else:
                raise BadFrame("an opaque value holds something other than texts and names of secrets")
        return Opaque(tuple(parts))

    def count(self, depth: int, *, smallest: int) -> int:
        count: int = self.number(_LENGTH)
        self.entries += count
        if depth >= MAX_DEPTH:
            raise BadFrame(f"a value is nested deeper than {MAX_DEPTH} tables")
        if self.entries > MAX_ENTRIES or count * smallest > len(self.body) - self.at:
            raise BadFrame(f"a table says that it has {count} entries, which is more than there can be")
        return count

    def table(self, depth: int) -> dict[Any, Any]:
        table: dict[Any, Any] = {}
        for _ in range(self.count(depth, smallest=2)):
            key = self.value(depth + 1)
            if not isinstance(key, str | bytes | int | float | bool) or key != key:
                raise BadFrame(f"a {type(key).__name__} is a table's key")
            if key in table and type(key) is not bool:
                raise BadFrame("a table has the same key twice")
            table[key] = self.value(depth + 1)
        return table
