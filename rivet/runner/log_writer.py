"""What a stage says, cut into lines, encoded and written to the journal in chunks."""

import threading
from types import TracebackType
from typing import Self

import zstandard

from rivet.domain.ids import StageKey
from rivet.domain.log import MAX_CHUNK_BYTES, MAX_LINE_BYTES, Chunk, Mark, encode_line
from rivet.domain.record import RecordType
from rivet.runner.journal import Journal, now_text

FLUSH_S = 0.015


class LogWriter:
    """Of one attempt. Lines go out within 15 ms, or when a chunk is full; a line that has no end yet waits.

    A line over 64 KiB is cut into several. Use as a context manager: leaving writes what is left.
    """

    def __init__(self, journal: Journal, stage: StageKey, attempt: int, max_bytes: int) -> None:
        self._journal, self._stage, self._attempt = journal, stage, attempt
        self._left = max_bytes
        self._guard = threading.Lock()
        self._wake, self._over = threading.Event(), threading.Event()
        self._texts: list[str] = []
        self._marks: list[Mark] = []
        self._size = 0
        self._partial: dict[str, bytes] = {}
        self._packer = zstandard.ZstdCompressor(level=1)
        self._flusher = threading.Thread(target=self._flush_often, name="log-writer", daemon=True)
        self.lines = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        self._flusher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._wake.set()
        self._flusher.join()
        with self._guard:
            for stream in list(self._partial):
                self._finish(stream)
            self._flush()

    def output(self, stream: str, data: bytes) -> None:
        """Bytes that a process wrote to `stdout` or `stderr`."""
        with self._guard:
            head, feed, tail = (self._partial.get(stream, b"") + data).rpartition(b"\n")
            if feed:
                self._add(head.split(b"\n"), stream, None)
            while len(tail) > MAX_LINE_BYTES:
                self._add([tail[:MAX_LINE_BYTES]], stream, None)
                tail = tail[MAX_LINE_BYTES:]
            self._partial[stream] = tail
        self._wake.set()

    def finish(self) -> None:
        """A process has ended: what it wrote last is a line, with or without its end."""
        with self._guard:
            for stream in list(self._partial):
                self._finish(stream)
        self._wake.set()

    def say(self, level: str, text: str, stream: str = "log") -> None:
        """An entry of the script, or of Rivet itself (`stream` = `rivet`); may have several lines."""
        with self._guard:
            self._add(text.encode().split(b"\n"), stream, level)
        self._wake.set()

    def _finish(self, stream: str) -> None:
        tail = self._partial.pop(stream, b"")
        if tail:
            self._add([tail], stream, None)

    def _add(self, lines: list[bytes], stream: str, level: str | None) -> None:
        mark = (stream, level)
        if not self._marks or (self._marks[-1].stream, self._marks[-1].level) != mark:
            self._marks.append(Mark(len(self._texts), now_text(), stream, level))
        for line in lines:
            for at in range(0, max(len(line), 1), MAX_LINE_BYTES):
                self._add_line(line[at : at + MAX_LINE_BYTES], stream, level)

    def _add_line(self, raw: bytes, stream: str, level: str | None) -> None:
        if self._left <= 0:
            return
        self._left -= len(raw) + 1
        if self._left <= 0:
            raw = b"[the rest of this stage's output is over the limit and was cut]"
        if self._size + len(raw) > MAX_CHUNK_BYTES:
            self._flush()
            self._marks.append(Mark(0, now_text(), stream, level))
        self._texts.append(encode_line(raw))
        self._size += len(raw) + 1

    def _flush_often(self) -> None:
        while not self._over.is_set():
            self._wake.wait()
            self._over.wait(FLUSH_S)
            self._wake.clear()
            with self._guard:
                self._flush()

    def _flush(self) -> None:
        if not self._texts:
            self._marks.clear()
            return
        chunk = Chunk(self.lines + 1, self._texts, self._marks)
        body = chunk.body()
        self._journal.record(
            RecordType.LOG,
            stage=self._stage,
            attempt=self._attempt,
            data=chunk.header() | {"bytes": len(body)},
            body=self._packer.compress(body),
        )
        self.lines += len(self._texts)
        self.bytes += len(body)
        self._texts, self._marks, self._size = [], [], 0
