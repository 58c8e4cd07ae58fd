"""A blob: bytes of any size, stored as pieces that are each named by the SHA-256 of what is in them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

from rivet.domain.errors import InvalidInput

PIECE_BYTES = 4 * 1024 * 1024
"""Every piece but the last has so many bytes: where a byte is found follows from its place."""
MOST_PIECES = 65_536
_DIGEST_BYTES = 32
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to `stop` (without it) of the piece `digest`."""

    digest: str
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a blob consists of: its size in bytes, the SHA-256 of the whole, and its pieces in order."""

    size: int
    sha256: str
    pieces: tuple[str, ...]

    @classmethod
    def read(cls, told: object) -> Self:
        """The manifest in a table that somebody sent. Raises InvalidInput."""
        if not isinstance(told, Mapping):
            raise InvalidInput("blob: expected a table of size, sha256 and pieces")
        size, pieces = told.get("size"), told.get("pieces")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise InvalidInput("blob.size: expected a whole number of bytes")
        if not isinstance(pieces, list) or len(pieces) != -(-size // PIECE_BYTES):
            raise InvalidInput(f"blob.pieces: expected a piece for every {PIECE_BYTES} of the {size} bytes")
        if len(pieces) > MOST_PIECES:
            raise InvalidInput(f"blob.pieces: expected at most {MOST_PIECES}, given {len(pieces)}")
        return cls(size, checked_digest(told.get("sha256")), tuple(checked_digest(one) for one in pieces))

    @classmethod
    def of_stored(cls, size: int, sha256: bytes, pieces: bytes) -> Self:
        """As `packed_pieces` has it."""
        cut = range(0, len(pieces), _DIGEST_BYTES)
        return cls(size, sha256.hex(), tuple(pieces[at : at + _DIGEST_BYTES].hex() for at in cut))

    def as_dict(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self.sha256, "pieces": list(self.pieces)}

    def packed_pieces(self) -> bytes:
        """The digests of all pieces, one after another."""
        return bytes.fromhex("".join(self.pieces))

    def size_of(self, place: int) -> int:
        """How many bytes the piece at this place has, from 0."""
        return min(PIECE_BYTES, self.size - place * PIECE_BYTES)

    def parts(self, first: int, last: int) -> Iterator[Part]:
        """Where the bytes `first` to `last` (with it) are, in order."""
        for place in range(first // PIECE_BYTES, last // PIECE_BYTES + 1):
            begin = place * PIECE_BYTES
            stop = min(last + 1 - begin, self.size_of(place))
            yield Part(self.pieces[place], max(0, first - begin), stop)


def checked_digest(given: object) -> str:
    """A SHA-256 in hexadecimal. Raises InvalidInput."""
    if not isinstance(given, str) or not _DIGEST.fullmatch(given):
        raise InvalidInput("expected a SHA-256 as 64 hexadecimal digits in lower case")
    return given


def shown_size(size: float) -> str:
    """Bytes for people: `512 B`, `1.5 KiB`, `2.0 GiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
