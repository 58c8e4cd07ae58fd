"""An uploaded folder on its way into a workspace: unpacked of its zstd as it comes, of its tar in a room."""

import io
from collections.abc import Iterator

import zstandard

from rivet.domain.blob import Manifest, shown_size
from rivet.modules.contract import CallError
from rivet.runner.blobs import BlobLink, Progress
from rivet.runner.packing import Bench, unpack_stream

TITLE = "folder"
MOST_WINDOW = 128 * 1024 * 1024
"""What zstd itself takes at most, unless told otherwise."""
_READ_BYTES = 1024 * 1024


def lay_folder(bench: Bench, link: BlobLink, blob: Manifest, most_bytes: int) -> int:
    """Into the workspace; how many files. Raises CallError, also where it is over `most_bytes` unpacked."""
    progress = Progress(TITLE, bench.say, blob.size)
    return unpack_stream(bench, TITLE, _unpacked(_told(link, blob, progress), most_bytes))


def _told(link: BlobLink, blob: Manifest, progress: Progress) -> Iterator[bytes]:
    for piece in link.pieces(blob):
        yield piece
        progress.by(len(piece))


def _unpacked(packed: Iterator[bytes], most_bytes: int) -> Iterator[bytes]:
    source = io.BufferedReader(_Pieces(packed), _READ_BYTES)
    opened = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW)
    size = 0
    try:
        with opened.stream_reader(source, read_size=_READ_BYTES, read_across_frames=True) as reader:
            while data := reader.read(_READ_BYTES):
                size += len(data)
                if size > most_bytes:
                    most = shown_size(most_bytes)
                    raise CallError(f"{TITLE}: is over {most} unpacked, which is what the operator allows")
                yield data
    except zstandard.ZstdError as error:
        raise CallError(f"{TITLE}: what was uploaded is not packed with zstd: {error}") from None


class _Pieces(io.RawIOBase):
    """Pieces of bytes, as a file to read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size
