"""A stored log chunk as lines. What a runner packed is believed no more than bytes from a stranger."""

from collections.abc import Mapping
from typing import Any

import zstandard

from rivet.domain.errors import BadRecord
from rivet.domain.log import MAX_CHUNK_BYTES, Chunk, read_chunk

MAX_UNPACKED = 4 * MAX_CHUNK_BYTES
"""Every byte of a chunk may have become an escape of three; more than this is no chunk of ours."""


def unpacked_chunk(header: Mapping[str, Any], body: bytes) -> Chunk:
    """Raises BadRecord for what is no chunk, or unpacks to more than one may hold."""
    try:
        with zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024).stream_reader(body) as reader:
            lines = reader.read(MAX_UNPACKED + 1)
    except zstandard.ZstdError as error:
        raise BadRecord("a log chunk cannot be unpacked") from error
    if len(lines) > MAX_UNPACKED:
        raise BadRecord(f"a log chunk unpacks to more than {MAX_UNPACKED} bytes")
    return read_chunk(header, lines)
