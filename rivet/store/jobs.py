"""Jobs: begun, claimed, moved, each by a statement that says what it expects."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Executable,
    Uuid,
    bindparam,
    func,
    or_,
    select,
    text,
    update,
)

from rivet.domain.ids import Epoch, JobId, RunId, SessionId, TokenId
from rivet.domain.job import Group, Job, Origin
from rivet.domain.states import FINISHED_JOB, JobStatus, OnLost, Reason
from rivet.domain.transitions import JOB as MOVES
from rivet.domain.transitions import JOB_AGAIN
from rivet.engine.ports import Committed, Queued
from rivet.engine.run_ports import Asker
from rivet.store.made import Made
from rivet.store.pauses import IS_PAUSED, NOT_PAUSED
from rivet.store.runs import reason_of
from rivet.store.seen import Seen
from rivet.store.tables import JOB, OUTBOX, RUN, RUNNER, AnyRow

_COLUMNS = [column for column in JOB.c if column.name != "isolation"]
_NAMED = ", ".join(column.name for column in _COLUMNS)
_GET = select(*_COLUMNS).where(JOB.c.id == bindparam("job"))
_OF_RUN = select(*_COLUMNS).where(JOB.c.run_id == bindparam("run"))
_IN_ORDER = _OF_RUN.order_by(JOB.c.ordinal)
_NOW = func.now().label("now")
_LOCK = _GET.add_columns(_NOW).with_for_update()
_LOCK_ASKED = (
    _GET.add_columns(_NOW, RUNNER.c.name.label("asked_by"), RUNNER.c.token_id)
    .outerjoin_from(JOB, RUNNER, RUNNER.c.session == bindparam("of_session"))
    .with_for_update(of=JOB)
)
_LOCK_OF_RUN = _OF_RUN.add_columns(_NOW).order_by(JOB.c.id).with_for_update()
_LOCK_ALL = text(
    f"""
    SELECT {_NAMED}, now() AS now FROM job
    WHERE id = ANY (:jobs) OR run_id = ANY (ARRAY(SELECT run_id FROM job WHERE id = ANY (:whole)))
    ORDER BY id FOR UPDATE
    """
).columns(*_COLUMNS, _NOW).bindparams(
    bindparam("jobs", type_=ARRAY(Uuid)), bindparam("whole", type_=ARRAY(Uuid))
)

_MOVE = text(
    f"""
    WITH moved AS (
        UPDATE job SET status = :to, reason = :why,
            ended_at = CASE WHEN :ends THEN now() ELSE ended_at END
        WHERE id = :job AND epoch = :epoch AND status = :origin
        RETURNING *
    ),
    unqueued AS (
        DELETE FROM outbox USING moved WHERE outbox.job_id = moved.id AND outbox.epoch = moved.epoch
    ),
    released AS (
        DELETE FROM lease USING moved WHERE lease.job_id = moved.id AND lease.epoch = moved.epoch
    )
    SELECT {_NAMED} FROM moved
    """
).columns(*_COLUMNS)
_BEGIN = text(
    f"""
    WITH begun AS (
        UPDATE job SET status = 'queued', reason = NULL, epoch = epoch + 1, runner = NULL, session = NULL,
            last_seq = NULL, ingested_seq = 0, queued_at = now(), started_at = NULL
        WHERE id = :job AND epoch = :epoch AND status = :origin
        RETURNING *
    ),
    queued AS (
        INSERT INTO outbox (job_id, epoch, queue, not_before)
        SELECT id, epoch, :queue, CASE WHEN :after_s > 0 THEN now() + make_interval(secs => :after_s) END
        FROM begun
    )
    SELECT {_NAMED} FROM begun
    """
).columns(*_COLUMNS)
_CLAIM = text(
    f"""
    WITH claimed AS (
        UPDATE job SET status = 'running', runner = :runner, session = :session, started_at = now(),
            last_seq = NULL, ingested_seq = 0,
            isolation = (SELECT runner.isolation FROM runner WHERE runner.session = :session)
        WHERE id = :job AND epoch = :epoch AND status = 'queued' AND NOT {IS_PAUSED}
          AND NOT EXISTS (SELECT FROM pause WHERE pause.kind = 'runner' AND pause.target = :runner)
        RETURNING *
    ),
    unqueued AS (
        DELETE FROM outbox USING claimed WHERE outbox.job_id = claimed.id AND outbox.epoch = claimed.epoch
    ),
    leased AS (
        INSERT INTO lease (job_id, epoch, session, renewed_at)
        SELECT id, epoch, :session, now() FROM claimed
        ON CONFLICT (job_id) DO UPDATE
            SET epoch = excluded.epoch, session = excluded.session, renewed_at = now(), helped = false,
                begun = '{{}}'
    )
    SELECT {_NAMED} FROM claimed
    """
).columns(*_COLUMNS)
_HELD = (
    JOB.c.id == bindparam("job"),
    JOB.c.epoch == bindparam("in_epoch"),
    JOB.c.status == JobStatus.RUNNING.value,
)
_ADVANCE = (
    update(JOB)
    .where(*_HELD, JOB.c.ingested_seq == bindparam("from_seq"))
    .values(ingested_seq=bindparam("to_seq"), last_seq=func.coalesce(bindparam("last"), JOB.c.last_seq))
    .returning(*_COLUMNS)
)
_OF_GOING_RUNS = (
    select(JOB.c.id)
    .join(RUN, RUN.c.id == JOB.c.run_id)
    .where(JOB.c.id == func.any(bindparam("jobs", type_=ARRAY(Uuid))), RUN.c.ended_at.is_(None))
)
_ADD_WAITS = text(
    "UPDATE job SET waits_for = waits_for || CAST(:more AS uuid[]) "
    "WHERE run_id = :run AND :job = ANY (waits_for)"
)
_BEGIN_AGAIN = (
    update(JOB)
    .where(JOB.c.id == bindparam("job"), JOB.c.epoch == bindparam("in_epoch"))
    .where(JOB.c.status == bindparam("was"))
    .values(
        status=JobStatus.PENDING.value,
        reason=None,
        ended_at=None,
        is_cancelled=False,
        origin=bindparam("begins", type_=JOB.c.origin.type),
    )
)
_ASK_CANCEL = (
    update(JOB)
    .where(JOB.c.id == bindparam("job"), ~JOB.c.is_cancelled, JOB.c.ended_at.is_(None))
    .values(is_cancelled=True)
)
_SETTLEABLE = (
    select(JOB.c.id, JOB.c.epoch)
    .where(JOB.c.status == JobStatus.RUNNING.value, JOB.c.ingested_seq >= JOB.c.last_seq)
    .order_by(JOB.c.id)
    .limit(bindparam("most"))
)
_QUEUED = (
    select(OUTBOX.c.queue, func.count().label("jobs"))
    .join(JOB, (JOB.c.id == OUTBOX.c.job_id) & (JOB.c.epoch == OUTBOX.c.epoch))
    .where(
        JOB.c.status == JobStatus.QUEUED.value,
        or_(OUTBOX.c.not_before.is_(None), OUTBOX.c.not_before <= func.now()),
        NOT_PAUSED,
    )
    .group_by(OUTBOX.c.queue)
)


class PostgresJobs:
    def __init__(self, connection: Connection, made: Made, committed: Committed, seen: Seen) -> None:
        self._connection = connection
        self._made = made
        self._committed = committed
        self._seen = seen

    def add(self, job: Job) -> None:
        self._seen.added("jobs", job.run_id, job)
        self._seen.made("stages", job.id, [])
        self._made.add_job(job)

    def get(self, job: JobId) -> Job | None:
        row = self._connection.execute(_GET, {"job": job}).one_or_none()
        return job_of(row) if row else None

    def lock(self, job: JobId) -> Job | None:
        locked = self._locked(_LOCK, {"job": job})
        return locked[0] if locked else None

    def lock_asked(self, job: JobId, session: SessionId) -> tuple[Job, Asker | None] | None:
        row = self._connection.execute(_LOCK_ASKED, {"job": job, "of_session": session}).one_or_none()
        if row is None:
            self._seen.locked()
            return None
        locked = job_of(row)
        self._seen.locked([locked])
        self._seen.now = row.now
        return locked, None if row.asked_by is None else Asker(row.asked_by, TokenId(row.token_id))

    def lock_all(self, jobs: Collection[JobId], whole: Collection[JobId]) -> Mapping[JobId, Job]:
        locked = self._locked(_LOCK_ALL, {"jobs": list(jobs), "whole": list(whole)})
        return {job.id: job for job in locked}

    def _locked(self, query: Executable, of: Mapping[str, Any]) -> Sequence[Job]:
        rows = self._connection.execute(query, of).all()
        locked = [job_of(row) for row in rows]
        self._seen.locked(locked)
        if rows:
            self._seen.now = rows[0].now
        return locked

    def of_run(self, run: RunId) -> Sequence[Job]:
        return self._seen.read("jobs", run, lambda: self._of_run(run))

    def _of_run(self, run: RunId) -> Sequence[Job]:
        return [job_of(row) for row in self._connection.execute(_IN_ORDER, {"run": run})]

    def lock_of_run(self, run: RunId) -> Sequence[Job]:
        return sorted(self._locked(_LOCK_OF_RUN, {"run": run}), key=lambda job: job.ordinal)

    def move(self, job: Job, to: JobStatus, *, reason: Reason | None = None) -> bool:
        MOVES.check(job.status, to)
        told = {
            "job": job.id,
            "epoch": job.epoch,
            "origin": job.status.value,
            "to": to.value,
            "why": reason,
            "ends": to in FINISHED_JOB,
        }
        return self._wrote(_MOVE, told) is not None

    def lock_with_run(self, job: JobId) -> Job | None:
        found = self.get(job)
        if found is None:
            return None
        return next((each for each in self.lock_of_run(found.run_id) if each.id == job), None)

    def of_ended_runs(self, jobs: Sequence[JobId]) -> Sequence[JobId]:
        going = set(self._connection.execute(_OF_GOING_RUNS, {"jobs": list(jobs)}).scalars())
        return [job for job in jobs if job not in going]

    def add_waits(self, run: RunId, job: JobId, more: Sequence[JobId]) -> None:
        self._seen.changed("jobs")
        self._connection.execute(_ADD_WAITS, {"run": run, "job": job, "more": list(more)})

    def is_at_work(self, job: JobId) -> bool:
        found = self.get(job)
        return found is not None and found.status in (JobStatus.QUEUED, JobStatus.RUNNING)

    def begin_again(self, job: Job, origin: Origin | None) -> bool:
        JOB_AGAIN.check(job.status, JobStatus.PENDING)
        self._seen.changed("jobs")
        told = {"job": job.id, "in_epoch": job.epoch, "was": job.status.value}
        begins = None if origin is None else origin.as_dict()
        return self._connection.execute(_BEGIN_AGAIN, {**told, "begins": begins}).rowcount == 1

    def ask_cancel(self, job: Job) -> bool:
        self._seen.changed("jobs")
        asked = self._connection.execute(_ASK_CANCEL, {"job": job.id})
        return asked.rowcount == 1

    def begin(self, job: Job, queue: str, after_s: float = 0.0) -> Epoch | None:
        MOVES.check(job.status, JobStatus.QUEUED)
        begun = self._made.begin(job, queue, after_s)
        if begun is not None:
            self._seen.wrote("jobs", begun)
        else:
            told = {"job": job.id, "epoch": job.epoch, "origin": job.status.value, "queue": queue}
            begun = self._wrote(_BEGIN, {**told, "after_s": after_s})
        if begun is None:
            return None
        if after_s <= 0:
            self._committed.queued.append(Queued(job.id, begun.epoch, queue))
        return begun.epoch

    def claim(self, job: Job, runner: str, session: SessionId) -> bool:
        MOVES.check(job.status, JobStatus.RUNNING)
        told = {"job": job.id, "epoch": job.epoch, "runner": runner, "session": session}
        return self._wrote(_CLAIM, told) is not None

    def advance(
        self, job: JobId, epoch: Epoch, from_seq: int, to_seq: int, *, last_seq: int | None = None
    ) -> bool:
        told = {"job": job, "in_epoch": epoch, "from_seq": from_seq, "to_seq": to_seq, "last": last_seq}
        return self._wrote(_ADVANCE, told) is not None

    def _wrote(self, statement: Executable, told: Mapping[str, Any]) -> Job | None:
        """The job that it wrote, which is then known as PostgreSQL says it is."""
        row = self._connection.execute(statement, told).one_or_none()
        if row is None:
            self._seen.changed("jobs")
            return None
        wrote = job_of(row)
        self._seen.wrote("jobs", wrote)
        return wrote

    def settleable(self, limit: int) -> Sequence[tuple[JobId, Epoch]]:
        return [
            (JobId(row.id), Epoch(row.epoch))
            for row in self._connection.execute(_SETTLEABLE, {"most": limit})
        ]

    def queued_counts(self) -> Mapping[str, int]:
        return {row.queue: row.jobs for row in self._connection.execute(_QUEUED)}


def job_of(row: AnyRow) -> Job:
    return Job(
        id=JobId(row.id),
        run_id=RunId(row.run_id),
        ordinal=row.ordinal,
        queue=row.queue,
        status=JobStatus(row.status),
        reason=reason_of(row.reason),
        epoch=Epoch(row.epoch),
        on_lost=OnLost(row.on_lost),
        runner=row.runner,
        session=None if row.session is None else SessionId(row.session),
        last_seq=row.last_seq,
        ingested_seq=row.ingested_seq,
        queued_at=row.queued_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        waits_for=tuple(JobId(job) for job in row.waits_for),
        starts_from=None if row.starts_from is None else JobId(row.starts_from),
        group=None if row.grouped is None else Group(**row.grouped),
        is_last=row.is_last,
        is_cancelled=row.is_cancelled,
        origin=None if row.origin is None else Origin.read(row.origin),
    )
