"""Tables to members of the archive and back, by COPY: as text, which every version of PostgreSQL reads."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection

PART_BYTES = 8 * 1024 * 1024

Add = Callable[[str, bytes], None]


def copy_out(table: str, columns: Sequence[str], connection: Connection, add: Add) -> int:
    """The table as it is for this transaction, in parts of 8 MiB and a little; how many bytes.

    A blob whose bytes are not in the backup is of no use: pieces that no blob has are left out.
    """
    which = _USED_PIECES if table == "piece" else ""
    parts = _Parts(f"tables/{table}", add)
    asked = f"COPY (SELECT {_listed(columns)} FROM {table}{which}) TO STDOUT"
    _cursor(connection).copy_expert(asked, parts)
    return parts.finish()


def copy_in(table: str, columns: Sequence[str], parts: Iterator[bytes], connection: Connection) -> None:
    _cursor(connection).copy_expert(f"COPY {table} ({_listed(columns)}) FROM STDIN", _Joined(parts))


USED = """
    SELECT DISTINCT blob.project_id, substring(blob.pieces FROM 32 * place + 1 FOR 32) AS sha256
    FROM blob, generate_series(0, length(blob.pieces) / 32 - 1) AS place
"""
"""The pieces of all blobs."""
_USED_PIECES = f" WHERE (project_id, sha256) IN ({USED})"


def _listed(columns: Sequence[str]) -> str:
    return ", ".join('"' + column.replace('"', '""') + '"' for column in columns)


def _cursor(connection: Connection) -> Any:
    return connection.connection.cursor()


class _Parts:
    """What COPY writes to: gathered into members."""

    def __init__(self, name: str, add: Add) -> None:
        self._name, self._add = name, add
        self._waiting = bytearray()
        self._count = self._bytes = 0

    def write(self, data: bytes | str) -> int:
        self._waiting += data.encode() if isinstance(data, str) else data
        if len(self._waiting) >= PART_BYTES:
            self._flush()
        return len(data)

    def finish(self) -> int:
        self._flush()
        return self._bytes

    def _flush(self) -> None:
        if self._waiting:
            self._count += 1
            self._bytes += len(self._waiting)
            self._add(f"{self._name}/{self._count:06}", bytes(self._waiting))
            self._waiting.clear()


class _Joined:
    """What COPY reads from: members, one after another."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._waiting = memoryview(b"")

    def read(self, size: int = -1) -> bytes:
        while not self._waiting:
            part = next(self._parts, None)
            if part is None:
                return b""
            self._waiting = memoryview(part)
        end = len(self._waiting) if size < 0 else size
        taken, self._waiting = self._waiting[:end], self._waiting[end:]
        return bytes(taken)
