"""What is paused. A job that is paused is neither published nor claimed: both ask `IS_PAUSED`."""

from sqlalchemy import Connection, text

from rivet.domain.ids import Epoch, JobId
from rivet.domain.pause import Pause, Paused
from rivet.domain.runner import own_queue_of
from rivet.engine.ports import Committed, Queued
from rivet.store.plain_json import storable
from rivet.store.tables import AnyRow

IS_PAUSED = """
    EXISTS (
        SELECT FROM pause
        WHERE (pause.kind = 'queue' AND pause.target = job.queue)
           OR (pause.kind = 'pipeline' AND pause.target = (
               SELECT CAST(run.pipeline_id AS text) FROM run
               WHERE run.id = job.run_id AND run.started_at IS NULL))
    )
"""
"""Of a row of `job`: whether its queue is paused, or its pipeline while nothing of its run has begun."""

OWN_IS_PAUSED = """
    EXISTS (SELECT FROM pause WHERE pause.kind = 'runner' AND outbox.queue = 'own:' || pause.target)
"""
"""Of a row of `outbox`: whether it waits for a runner that is paused."""

NOT_PAUSED = text(f"NOT {IS_PAUSED} AND NOT {OWN_IS_PAUSED}")
"""Of a row of `job` joined with its row of `outbox`."""

_PUT = text(
    """
    INSERT INTO pause (kind, target, why, actor) VALUES (:kind, :target, :why, :actor)
    ON CONFLICT (kind, target) DO UPDATE SET why = excluded.why, actor = excluded.actor
    RETURNING kind, target, why, actor, since
    """
)
_GET = text("SELECT kind, target, why, actor, since FROM pause WHERE kind = :kind AND target = :target")
_DROP = text("DELETE FROM pause WHERE kind = :kind AND target = :target")
_WAITING = text(
    f"""
    SELECT outbox.job_id, outbox.epoch, outbox.queue
    FROM outbox JOIN job ON job.id = outbox.job_id AND job.epoch = outbox.epoch
    JOIN run ON run.id = job.run_id
    WHERE job.status = 'queued' AND (outbox.not_before IS NULL OR outbox.not_before <= now())
      AND ((:kind = 'queue' AND job.queue = :target) OR (:kind = 'runner' AND outbox.queue = :own)
           OR (:kind = 'pipeline' AND CAST(run.pipeline_id AS text) = :target))
      AND NOT {IS_PAUSED} AND NOT {OWN_IS_PAUSED}
    ORDER BY outbox.created_at, outbox.job_id
    """
)


class PostgresPauses:
    def __init__(self, connection: Connection, committed: Committed) -> None:
        self._connection = connection
        self._committed = committed

    def put(self, kind: Paused, target: str, why: str, actor: str) -> Pause:
        told = _named(kind, target) | {"why": storable(why), "actor": storable(actor)}
        return _pause(self._connection.execute(_PUT, told).one())

    def get(self, kind: Paused, target: str) -> Pause | None:
        row = self._connection.execute(_GET, _named(kind, target)).one_or_none()
        return _pause(row) if row else None

    def drop(self, kind: Paused, target: str) -> bool:
        return self._connection.execute(_DROP, _named(kind, target)).rowcount == 1

    def publish_again(self, kind: Paused, target: str) -> int:
        told = _named(kind, target) | {"own": own_queue_of(storable(target))}
        rows = self._connection.execute(_WAITING, told).all()
        self._committed.queued += [Queued(JobId(row.job_id), Epoch(row.epoch), row.queue) for row in rows]
        return len(rows)


def _named(kind: Paused, target: str) -> dict[str, str]:
    return {"kind": kind.value, "target": storable(target)}


def _pause(row: AnyRow) -> Pause:
    return Pause(Paused(row.kind), row.target, row.why, row.actor, row.since)
