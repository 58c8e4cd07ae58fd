"""What is to be published: rows are made when a job is begun and go when it leaves the queue."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, func, or_, select, text

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
_MARK = text(
    """
    UPDATE outbox SET published_at = now(), generation = :generation
    FROM unnest(CAST(:jobs AS uuid[]), CAST(:epochs AS integer[])) AS told (job_id, epoch)
    WHERE outbox.job_id = told.job_id AND outbox.epoch = told.epoch
    """
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

    def mark(self, published: Sequence[Queued], generation: str) -> None:
        jobs, epochs = [each.job_id for each in published], [each.epoch for each in published]
        self._connection.execute(_MARK, {"jobs": jobs, "epochs": epochs, "generation": generation})


def _queued(row: AnyRow) -> Queued:
    return Queued(JobId(row.job_id), Epoch(row.epoch), row.queue)
