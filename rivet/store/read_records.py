"""A run's records, page by page: its events after a position, and its log from any line on.

A page is one short query, so that a slow reader holds neither a connection nor memory.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from sqlalchemy import Engine, text

from rivet.domain.errors import BadRecord
from rivet.domain.ids import Epoch, JobId, RunId, StageKey
from rivet.domain.log import Chunk, Line, Mark
from rivet.engine.kept_ports import BlobStore
from rivet.engine.ports import Entry
from rivet.store.chunks import unpacked_chunk
from rivet.store.failures import told_as_unavailable
from rivet.store.moved_logs import MovedBodies
from rivet.store.plain_json import storable
from rivet.store.records import iso

_PAGE = 8

_AFTER = text(
    """
    SELECT run_id, pos, type, at, job_id, epoch, seq, stage, attempt, late, data, body, moved_to, moved_size
    FROM record WHERE run_id = :run AND pos > :after ORDER BY pos LIMIT :most
    """
)
_END = text("SELECT pos FROM record WHERE run_id = :run AND type = 'run_ended' ORDER BY pos LIMIT 1")
_LOG = """
    FROM record WHERE run_id = :run AND type = 'log'
      AND (CAST(:stage AS text) IS NULL OR stage = :stage)
      AND (CAST(:attempt AS bigint) IS NULL OR attempt = :attempt)
"""
_CHUNKS = text(
    "SELECT pos, at, stage, attempt, late, lines, data, body, moved_to, moved_size"
    + _LOG
    + "AND pos > :after ORDER BY pos LIMIT :most"
)
_SIZES = text("SELECT pos, lines" + _LOG + "ORDER BY pos")
_SIZES_BACK = text("SELECT pos, lines" + _LOG + "ORDER BY pos DESC")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which part of a run's log. `from_line` and `tail` count the lines of that part, from 1."""

    run: RunId
    stage: str | None = None
    attempt: int | None = None
    from_line: int | None = None
    tail: int | None = None

    def values(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "stage": None if self.stage is None else storable(self.stage),
            "attempt": self.attempt,
        }


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of one attempt: those of a chunk but for its first `skip`."""

    stage: str
    attempt: int
    late: bool
    chunk: Chunk
    skip: int = 0

    @property
    def texts(self) -> Sequence[str]:
        """The lines alone, without looking at each."""
        return self.chunk.texts[self.skip :] if self.skip else self.chunk.texts

    @property
    def lines(self) -> Iterator[Line]:
        return islice(self.chunk.lines(), self.skip, None)


class RecordReads:
    """`blobs` is where logs are that were moved out of the database."""

    def __init__(self, engine: Engine, blobs: BlobStore | None = None) -> None:
        self._engine, self._blobs = engine, blobs

    def after(self, run: RunId, pos: int, limit: int) -> list[Entry]:
        """The run's entries after a position, in order."""
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_AFTER, {"run": run, "after": pos, "most": limit}).all()
        bodies = MovedBodies(run, self._engine, self._blobs)
        return [_entry(row, bodies) for row in rows]

    def end_of(self, run: RunId) -> int | None:
        """The position of the run's end, if it has come."""
        with told_as_unavailable(), self._engine.connect() as connection:
            return connection.execute(_END, {"run": run}).scalar_one_or_none()

    def log(self, wanted: Wanted) -> Iterator[Block]:
        """The log as it is now. Raises Unavailable, also in the middle."""
        after, skip = self._start(wanted)
        bodies = MovedBodies(wanted.run, self._engine, self._blobs)
        while True:
            with told_as_unavailable(), self._engine.connect() as connection:
                rows = connection.execute(
                    _CHUNKS, wanted.values() | {"after": after, "most": _PAGE}
                ).all()
            for row in rows:
                block = _block(row, bodies)
                count = len(block.chunk.texts)
                if skip < count:
                    yield replace(block, skip=skip)
                skip = max(0, skip - count)
            if len(rows) < _PAGE:
                return
            after = rows[-1].pos

    def _start(self, wanted: Wanted) -> tuple[int, int]:
        """After which position to read, and how many lines to pass over from there."""
        if wanted.tail is None and (wanted.from_line or 1) <= 1:
            return 0, 0
        with told_as_unavailable(), self._engine.connect() as connection:
            if wanted.tail is not None:
                sizes = connection.execute(_SIZES_BACK, wanted.values())
                return _back(sizes, wanted.tail)
            sizes = connection.execute(_SIZES, wanted.values())
            return _forth(sizes, (wanted.from_line or 1) - 1)


def _back(sizes: Any, tail: int) -> tuple[int, int]:
    counted = 0
    start = None
    for row in sizes:
        if counted >= tail:
            break
        counted += row.lines or 1
        start = row.pos
    return (2**62, 0) if start is None else (start - 1, max(0, counted - tail))


def _forth(sizes: Any, passed_over: int) -> tuple[int, int]:
    counted = 0
    for row in sizes:
        if counted + (row.lines or 1) > passed_over:
            return row.pos - 1, passed_over - counted
        counted += row.lines or 1
    return 2**62, 0


def _block(row: Any, bodies: MovedBodies) -> Block:
    try:
        chunk = unpacked_chunk(row.data, bodies.of(row))
    except BadRecord as damage:
        # A chunk whose header says nothing counts as one line, here as in `_start`.
        count = row.lines or 1
        said = f"[rivet: these {count} lines cannot be read: {damage.message}]"
        first = row.data.get("first", 1) if isinstance(row.data.get("first"), int) else 1
        chunk = Chunk(first, [said] * min(count, 1000), [Mark(0, iso(row.at), "rivet", "error")])
    return Block(row.stage or "", row.attempt or 0, row.late, chunk)


def _entry(row: Any, bodies: MovedBodies) -> Entry:
    try:
        body = bodies.of(row)
    except BadRecord:
        # An empty one is none: whoever unpacks it says so.
        body = b""
    return Entry(
        run_id=RunId(row.run_id),
        pos=row.pos,
        type=row.type,
        at=iso(row.at),
        job_id=None if row.job_id is None else JobId(row.job_id),
        epoch=None if row.epoch is None else Epoch(row.epoch),
        seq=row.seq,
        stage=None if row.stage is None else StageKey(row.stage),
        attempt=row.attempt,
        late=row.late,
        data=row.data,
        body=body,
    )
