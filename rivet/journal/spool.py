"""The spool: a job's journal on the runner's own disk, one file an epoch, safe against a torn last write.

Each record stands as its length (4 bytes), the packed record, and its CRC-32 (4 bytes).
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from rivet.domain.errors import BadRecord
from rivet.domain.record import MAX_BODY_BYTES, MAX_HEADER_BYTES, Record, pack, unpack

MAX_FRAME_BYTES = MAX_HEADER_BYTES + MAX_BODY_BYTES + 4


class Spool:
    """Append to one spool file; the torn end that a killed process left is cut off at opening.

    `offset` and `seq` say up to where it is known to be whole, so that only what follows is read.
    """

    def __init__(self, path: Path, *, offset: int = 0, seq: int = 0) -> None:
        self.last_seq, whole = seq, offset
        self.tail: list[Record] = []
        for record, end in _scan(path, offset):
            self.last_seq, whole = record.seq, end
            self.tail = [*self.tail[-1:], record]
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_APPEND, 0o600)
        if os.fstat(self._fd).st_size > whole:
            os.ftruncate(self._fd, whole)

    def append(self, record: Record) -> bytes:
        """Write the record; the packed bytes, for the stream. Raises OSError if the disk is full."""
        packed = pack(record)
        frame = len(packed).to_bytes(4, "big") + packed + zlib.crc32(packed).to_bytes(4, "big")
        size = os.fstat(self._fd).st_size
        try:
            written = os.write(self._fd, frame)
            while written < len(frame):
                written += os.write(self._fd, frame[written:])
        except OSError:
            os.ftruncate(self._fd, size)
            raise
        self.last_seq = record.seq
        return packed

    @property
    def size(self) -> int:
        """Bytes in the file: where the next record will begin."""
        return os.fstat(self._fd).st_size

    def close(self) -> None:
        os.close(self._fd)


def read_spool(path: Path, *, after_seq: int = 0, offset: int = 0) -> Iterator[tuple[Record, int]]:
    """The whole records after `after_seq`, each with the file offset behind it; starts at `offset`."""
    for record, end in _scan(path, offset):
        if record.seq > after_seq:
            yield record, end


def _scan(path: Path, offset: int) -> Iterator[tuple[Record, int]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        while True:
            packed = _frame(file)
            if packed is None:
                return
            offset += len(packed) + 8
            yield unpack(packed), offset


def _frame(file: BinaryIO) -> bytes | None:
    """The next packed record; None where the file ends, or ends torn. Raises BadRecord on damage before."""
    head = file.read(4)
    length = int.from_bytes(head, "big")
    if len(head) < 4 or length > MAX_FRAME_BYTES:
        return None
    packed, check = file.read(length), file.read(4)
    if len(packed) < length or len(check) < 4:
        return None
    if zlib.crc32(packed).to_bytes(4, "big") != check:
        if file.read(1):
            raise BadRecord("a spool file is damaged in its middle")
        return None
    return packed
