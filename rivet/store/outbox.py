"""What is to be published: rows are made when a job is begun and go when it leaves the queue."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, or_, select, update

from rivet.domain.ids import Epoch, JobId
from rivet.domain.states import JobStatus
from rivet.engine.ports import Queued
from rivet.store.pauses import NOT_PAUSED
from rivet.store.tables import JOB, OUTBOX, AnyRow

_QUEUED = (
    select(OUTBOX.c.job_id, OUTBOX.c.epoch, OUTBOX.c.queue)
    .join(JOB, (JOB.c.id == OUTBOX.c.job_id) & (JOB.c.epoch == OUTBOX.c.epoch))
    .where(JOB.c.status == JobStatus.QUEUED.value)
    .order_by(OUTBOX.c.created_at, OUTBOX.c.job_id)
    .limit(bindparam("most"))
)
_DUE = or_(OUTBOX.c.not_before.is_(None), OUTBOX.c.not_before <= func.now())
_UNPUBLISHED = _QUEUED.where(
    _DUE, NOT_PAUSED, or_(OUTBOX.c.published_at.is_(None), OUTBOX.c.generation != bindparam("now_is"))
)
_OF_QUEUE = _QUEUED.where(OUTBOX.c.queue == bindparam("of_queue"))
_DUE_OF_QUEUE = _OF_QUEUE.where(_DUE, NOT_PAUSED)
_MARK = (
    update(OUTBOX)
    .where(OUTBOX.c.job_id == bindparam("job"), OUTBOX.c.epoch == bindparam("in_epoch"))
    .values(published_at=func.now(), generation=bindparam("published_to"))
)


class PostgresOutbox:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def unpublished(self, generation: str, limit: int) -> Sequence[Queued]:
        rows = self._connection.execute(_UNPUBLISHED, {"now_is": generation, "most": limit})
        return [_queued(row) for row in rows]

    def of_queue(self, queue: str, limit: int, *, due: bool = False) -> Sequence[Queued]:
        wanted = _DUE_OF_QUEUE if due else _OF_QUEUE
        rows = self._connection.execute(wanted, {"of_queue": queue, "most": limit})
        return [_queued(row) for row in rows]

    def mark(self, queued: Queued, generation: str) -> None:
        self._connection.execute(
            _MARK, {"job": queued.job_id, "in_epoch": queued.epoch, "published_to": generation}
        )


def _queued(row: AnyRow) -> Queued:
    return Queued(JobId(row.job_id), Epoch(row.epoch), row.queue)
