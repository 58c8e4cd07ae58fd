"""A job's journal as its supervisor writes it: numbered, spooled first, then sent."""

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from rivet.domain.errors import Unavailable
from rivet.domain.ids import Epoch, JobId, StageKey
from rivet.domain.mask import Masker
from rivet.domain.record import Record, RecordType
from rivet.journal.spool import Spool
from rivet.journal.stream import MAX_WAITING, StreamWriter

PATIENCE_S = 1.0
LOOK_S = 0.01


def now_text() -> str:
    """The runner's clock, ISO 8601 to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Journal:
    """Safe among the threads of one supervisor. Where Redis does not take a record, the spooler will.

    Once a record could not be sent this writer sends no more of this journal, so that all of it goes out
    in order by one hand. `masker` knows the secrets of the stage at work:
    whoever records a text of a stage's has it masked before.

    A record that may go `later` is sent with the next one, or by `send`, which its writer sees to within
    10 ms: what a short stage says reaches control as one batch. Use as a context manager: leaving sends
    the rest.
    """

    def __init__(self, job: JobId, epoch: Epoch, spool: Spool, stream: StreamWriter) -> None:
        self._job, self._epoch = job, epoch
        self._spool, self._stream = spool, stream
        self._guard = threading.Lock()
        self._sends = True
        self._held: list[bytes] = []
        self.masker = Masker()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.send()

    def record(
        self,
        type: RecordType,
        *,
        stage: StageKey | None = None,
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
        body: bytes = b"",
        later: bool = False,
    ) -> int:
        """Write one record; its seq. Raises OSError where the disk takes no more."""
        with self._guard:
            seq = self._spool.last_seq + 1
            told = dict(data or {})
            if type is RecordType.JOB_DONE:
                told["last_seq"] = seq
            packed = self._spool.append(
                Record(self._job, self._epoch, seq, now_text(), type, stage, attempt, told, body)
            )
            waiting = self._send(packed, later)
        if waiting > MAX_WAITING and type is RecordType.LOG:
            self._let_control_come_on()
        return seq

    def send(self) -> None:
        """What was to go later goes now."""
        with self._guard:
            self._send_held()

    def _send(self, packed: bytes, later: bool) -> int:
        self._held.append(packed)
        return 0 if later else self._send_held()

    def _send_held(self) -> int:
        """How many entries wait for control in the stream by now."""
        held, self._held = self._held, []
        if not held or not self._sends:
            return 0
        try:
            return self._stream.send(held)
        except Unavailable:
            self._sends = False
            return 0

    def _let_control_come_on(self) -> None:
        """Slow the stage down while control lags: what it says next is not read meanwhile.

        Bounded, so that a stage can be stopped though control is away: then one chunk a while goes on.
        """
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(Unavailable):
            while self._stream.length() > MAX_WAITING and time.monotonic() < deadline:
                time.sleep(LOOK_S)

    @property
    def last_seq(self) -> int:
        return self._spool.last_seq

    @property
    def size(self) -> int:
        return self._spool.size
