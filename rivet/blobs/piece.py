"""A piece of a blob as it travels and is stored: one zstd frame.

What does not shrink is in the frame as it is, at a price of some bytes.
"""

import zstandard

from rivet.domain.blob import PIECE_BYTES
from rivet.domain.errors import InvalidInput

LEVEL = 3
MOST_PACKED = PIECE_BYTES + PIECE_BYTES // 64


def packed(content: bytes) -> bytes:
    """A piece as it travels and is stored."""
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True).compress(content)


def unpacked(piece: bytes) -> bytes:
    """What is in a piece. Raises InvalidInput for what is none, or holds more than a piece may."""
    try:
        if not 0 <= zstandard.frame_content_size(piece) <= PIECE_BYTES:
            raise InvalidInput(f"a piece must say its size, of at most {PIECE_BYTES} bytes")
        return zstandard.ZstdDecompressor(max_window_size=2 * PIECE_BYTES).decompress(piece)
    except zstandard.ZstdError as error:
        raise InvalidInput(f"a piece must be one frame of zstd: {error}") from error
