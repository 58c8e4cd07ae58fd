"""What a stage says, masked, cut into lines, encoded and written to the journal in chunks."""

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import zstandard

from rivet.clock import Call, Clock
from rivet.domain.ids import StageKey
from rivet.domain.limits import OverLimit
from rivet.domain.log import (
    MAX_CHUNK_BYTES,
    MAX_LINE_BYTES,
    Mark,
    chunk_header,
    encode_line,
    encode_plain,
)
from rivet.domain.mask import MaskedStream
from rivet.domain.record import RecordType
from rivet.runner.journal import Journal, now_text

FLUSH_S = 0.010
MAX_LINES = 10_000_000
_CLOCK = Clock("log-writer")


class LogWriter:
    """Of one attempt. Lines go out within 10 ms, or when a chunk is full; a line that has no end yet waits.

    What is over `max_bytes` or `max_lines` is cut, which a last line and `over` say; only Rivet's own words
    still get in. A line over 64 KiB is cut into several, after secrets in it were masked. `lines_before` is
    how many the attempt's log has already. Use as a context manager: leaving writes what is left.
    """

    def __init__(
        self,
        journal: Journal,
        stage: StageKey,
        attempt: int,
        max_bytes: int,
        max_lines: int = MAX_LINES,
        *,
        lines_before: int = 0,
    ) -> None:
        self._journal, self._stage, self._attempt = journal, stage, attempt
        self._max_bytes, self._max_lines = max_bytes, max_lines
        self._left, self._lines_left = max_bytes, max_lines
        self._guard = threading.Lock()
        self._blocks: list[str] = []  # of whole lines, joined by line feeds
        self._count = 0
        self._marks: list[Mark] = []
        self._size = 0
        self._partial: dict[tuple[int, str], bytes] = {}
        self._screens: dict[tuple[int, str], MaskedStream] = {}
        self._packer = zstandard.ZstdCompressor(level=1)
        self._flushed_at = time.monotonic()
        self._next_flush: Call | None = None
        self._is_closed = False
        self._failure: OSError | None = None
        self.lines = lines_before
        self.bytes = 0
        self.over: OverLimit | None = None

    def __enter__(self) -> Self:
        with self._guard:
            self._flush_soon()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._guard:
            self._is_closed = True
            if self._next_flush is not None:
                self._next_flush.call_off()
            for source in {source for source, _ in self._screens}:
                self._finish(source)
            self._flush()

    def output(self, stream: str, data: bytes) -> None:
        """Bytes that a process wrote to `stdout` or `stderr`. Raises OSError once the disk took no more."""
        self.take(stream, data)

    def take(self, stream: str, data: bytes, source: int = 0) -> bytes:
        """As `output`; what of it may be told by now, masked. The rest comes with more, or with `finish`.

        `source` tells apart what several processes write at once: each has lines of its own.
        """
        place = source, stream
        with self._guard:
            if self._failure is not None:
                raise self._failure
            screen = self._screens.get(place)
            if screen is None:
                screen = self._screens[place] = self._journal.masker.stream()
            told = screen.feed(data)
            self._cut(place, told)
            if self._blocks:
                self._flush_soon()
        return told

    def finish(self, source: int = 0) -> Mapping[str, bytes]:
        """A process has ended: what it wrote last is a line, with or without its end.

        What was held of it, by stream.
        """
        with self._guard:
            held = self._finish(source)
            if self._blocks:
                self._flush_soon()
        return held

    def say(self, level: str, text: str, stream: str = "log") -> None:
        """An entry of the script, or of Rivet itself (`stream` = `rivet`); may have several lines."""
        with self._guard:
            self._add(self._journal.masker.mask_text(text).encode().split(b"\n"), stream, level)
            self._flush_soon()

    def _cut(self, place: tuple[int, str], data: bytes) -> None:
        stream = place[1]
        head, feed, tail = (self._partial.get(place, b"") + data).rpartition(b"\n")
        if feed:
            self._add_block(head, stream)
        while len(tail) > MAX_LINE_BYTES:
            self._add([tail[:MAX_LINE_BYTES]], stream, None)
            tail = tail[MAX_LINE_BYTES:]
        self._partial[place] = tail

    def _finish(self, source: int) -> dict[str, bytes]:
        held = {}
        for place in [each for each in self._screens if each[0] == source]:
            _, stream = place
            held[stream] = self._screens.pop(place).finish()
            self._cut(place, held[stream])
            if tail := self._partial.pop(place):
                self._add([tail], stream, None)
        return held

    def _add_block(self, raw: bytes, stream: str) -> None:
        """Whole lines of a process; plain ones are not looked at one by one."""
        text = encode_plain(raw)
        count = raw.count(b"\n") + 1
        if text is None or self._left <= len(raw) + 1 or self._lines_left <= count:
            self._add(raw.split(b"\n"), stream, None)
            return
        self._left -= len(raw) + 1
        self._lines_left -= count
        self._mark(stream, None)
        while self._size + len(text) > MAX_CHUNK_BYTES:
            end = text.rfind("\n", 0, max(MAX_CHUNK_BYTES - self._size, 0) + 1)
            if end >= 0:
                self._keep(text[:end], text.count("\n", 0, end) + 1, end)
                text = text[end + 1 :]
            self._flush()
            self._mark(stream, None)
        self._keep(text, text.count("\n") + 1, len(text))

    def _add(self, lines: list[bytes], stream: str, level: str | None) -> None:
        self._mark(stream, level)
        for line in lines:
            for at in range(0, max(len(line), 1), MAX_LINE_BYTES):
                self._add_line(line[at : at + MAX_LINE_BYTES], stream, level)

    def _add_line(self, raw: bytes, stream: str, level: str | None) -> None:
        if self.over is not None and stream != "rivet":
            return
        self._left -= len(raw) + 1
        self._lines_left -= 1
        if self.over is None and (self._left <= 0 or self._lines_left <= 0):
            name, allowed = (
                ("log_bytes", self._max_bytes) if self._left <= 0 else ("log_lines", self._max_lines)
            )
            self.over = OverLimit(name, allowed)
            raw = b"[the rest of this stage's output is over the limit and was cut]"
        if self._size + len(raw) > MAX_CHUNK_BYTES:
            self._flush()
            self._mark(stream, level)
        self._keep(encode_line(raw), 1, len(raw))

    def _mark(self, stream: str, level: str | None) -> None:
        last = self._marks[-1] if self._marks else None
        if last is None or (last.stream, last.level) != (stream, level):
            self._marks.append(Mark(self._count, now_text(), stream, level))

    def _keep(self, text: str, count: int, size: int) -> None:
        self._blocks.append(text)
        self._count += count
        self._size += size + 1

    def _flush_soon(self) -> None:
        """At once after a silence, else each 10 ms; at first after as long: a short stage is one batch."""
        if self._next_flush is None:
            self._next_flush = _CLOCK.call_at(self._flushed_at + FLUSH_S, self._flush_now)

    def _flush_now(self) -> float | None:
        with self._guard:
            if self._is_closed:
                return None
            try:
                self._flush()
            except OSError as error:
                self._failure = error  # a full disk ends the stage with the next that it says
                return None
        self._journal.send()
        with self._guard:
            self._flushed_at = time.monotonic()
            if self._blocks:
                return self._flushed_at + FLUSH_S
            self._next_flush = None
        return None

    def _flush(self) -> None:
        if not self._blocks:
            self._marks.clear()
            return
        body = "\n".join(self._blocks).encode()
        self._journal.record(
            RecordType.LOG,
            stage=self._stage,
            attempt=self._attempt,
            data=chunk_header(self.lines + 1, self._count, self._marks) | {"bytes": len(body)},
            body=self._packer.compress(body),
        )
        self.lines += self._count
        self.bytes += len(body)
        self._blocks, self._marks, self._count, self._size = [], [], 0, 0
