"""The file of a backup: a tar packed with zstd, sealed by digests. Written and read as a stream.

Its first member is the header, its last one the SHA-256 of all others; behind the tar a frame that zstd skips
holds the SHA-256 of everything before it. So `tar --zstd -t` reads it, and any bit that changed is noticed.
"""

import hashlib
import io
import json
import struct
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from rivet.domain.errors import InvalidInput

FORMAT = 1
HEADER, DIGESTS = "rivet.json", "digests.json"
LEVEL = 3
MOST_MEMBER = 64 * 1024 * 1024
"""No member is larger: each is held in memory while it is read."""

_SEAL = struct.Struct("<II32s")
_SKIPPED = 0x184D2A50
_AT_ONCE = 1024 * 1024

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Header:
    """What is in the file. `schema` is the step that its database had, `tables` their columns in order, and
    `key_ids` name the keys that its secrets were sealed under."""

    rivet: str
    schema: str
    made_at: str
    tables: dict[str, list[str]]
    key_ids: list[str] = field(default_factory=list)
    has_key: bool = False
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    data: bytes


class Damaged(InvalidInput):
    """The file is no whole backup: something of it was changed, or is missing."""

    code = "damaged"


class ArchiveWriter:
    """Writes to `file`, which is the caller's to close. `close` seals it; without that it is no backup."""

    def __init__(self, file: BinaryIO, header: Header) -> None:
        self._out = _Hashing(file)
        out: Any = self._out
        self._packed = zstandard.ZstdCompressor(level=LEVEL).stream_writer(out, closefd=False)
        self._tar = tarfile.TarFile.open(
            mode="w|", fileobj=self._packed, format=tarfile.PAX_FORMAT
        )
        self._digests: dict[str, str] = {}
        self.add(HEADER, json.dumps(asdict(header), indent=1).encode())

    def add(self, name: str, data: bytes) -> None:
        self._digests[name] = hashlib.sha256(data).hexdigest()
        self._write(name, data)

    def close(self) -> None:
        self._write(DIGESTS, json.dumps(self._digests).encode())
        self._tar.close()
        self._packed.flush(zstandard.FLUSH_FRAME)
        self._out.file.write(_SEAL.pack(_SKIPPED, 32, self._out.digest.digest()))

    def _write(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o600
        self._tar.addfile(entry, io.BytesIO(data))


class ArchiveReader:
    """Reads the backup at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def verify(self, progress: Progress) -> Header:
        """Read all of it and compare every digest. Nothing is written. Raises Damaged, OSError.

        `progress` is told of bytes as they are read.
        """
        self._check_seal(progress)
        header: Header | None = None
        digests: dict[str, str] = {}
        told: dict[str, str] | None = None
        for member in self.members():
            if told is not None:
                raise Damaged(f"{self._path}: something follows the digests")
            if member.name == DIGESTS:
                told = json.loads(member.data)
                continue
            header = header or _header_of(member, self._path)
            digests[member.name] = hashlib.sha256(member.data).hexdigest()
        if header is None or told != digests:
            raise Damaged(f"{self._path} is damaged: the digests of what is in it are others than it names")
        return header

    def members(self) -> Iterator[Member]:
        """In order, one at a time in memory. Raises Damaged."""
        with self._path.open("rb") as file:
            try:
                unpacked = zstandard.ZstdDecompressor().stream_reader(file, closefd=False)
                with tarfile.open(mode="r|", fileobj=unpacked) as tar:
                    for entry in tar:
                        if not entry.isfile() or entry.size > MOST_MEMBER:
                            raise Damaged(f"{self._path}: {entry.name[:200]} is nothing that a backup has")
                        content = tar.extractfile(entry)
                        yield Member(entry.name, content.read() if content else b"")
            except (zstandard.ZstdError, tarfile.TarError) as error:
                raise Damaged(f"{self._path} is no backup of Rivet, or damaged: {error}") from error

    def _check_seal(self, progress: Progress) -> None:
        digest = hashlib.sha256()
        left = self._path.stat().st_size - _SEAL.size
        with self._path.open("rb") as file:
            while left > 0 and (part := file.read(min(left, _AT_ONCE))):
                digest.update(part)
                left -= len(part)
                progress(len(part))
            seal = file.read()
        if left != 0 or len(seal) != _SEAL.size or _SEAL.unpack(seal)[:2] != (_SKIPPED, 32):
            raise Damaged(f"{self._path} is no whole backup of Rivet: its end is missing")
        if _SEAL.unpack(seal)[2] != digest.digest():
            raise Damaged(f"{self._path} is damaged: it is not what was written")


def _header_of(member: Member, path: Path) -> Header:
    try:
        told: dict[str, Any] = json.loads(member.data)
        if member.name != HEADER or not isinstance(told.get("format"), int):
            raise Damaged(f"{path} is no backup of Rivet: it does not begin with {HEADER}")
        if told["format"] > FORMAT:
            raise InvalidInput(
                f"{path} has the format {told['format']}, and this version reads {FORMAT} at most: restore "
                f"it with Rivet {told.get('rivet')} or newer"
            )
        return Header(**told)
    except (ValueError, TypeError) as error:
        raise Damaged(f"{path}: its header cannot be read: {error}") from error


class _Hashing(io.RawIOBase):
    """A file to write to, and the SHA-256 of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.digest.update(data)
        return self.file.write(data)
