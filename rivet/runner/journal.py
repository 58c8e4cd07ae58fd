"""A job's journal as its supervisor writes it: numbered, spooled first, then sent."""

import contextlib
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

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
    """

    def __init__(self, job: JobId, epoch: Epoch, spool: Spool, stream: StreamWriter) -> None:
        self._job, self._epoch = job, epoch
        self._spool, self._stream = spool, stream
        self._guard = threading.Lock()
        self._sends = True
        self.masker = Masker()

    def record(
        self,
        type: RecordType,
        *,
        stage: StageKey | None = None,
        attempt: int | None = None,
        data: Mapping[str, Any] | None = None,
        body: bytes = b"",
        sync: bool = False,
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
            if sync:
                self._spool.sync()
            waiting = self._send(packed)
        if waiting > MAX_WAITING and type is RecordType.LOG:
            self._let_control_come_on()
        return seq

    def _send(self, packed: bytes) -> int:
        if not self._sends:
            return 0
        try:
            return self._stream.send([packed])
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
