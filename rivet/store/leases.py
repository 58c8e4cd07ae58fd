"""Leases of jobs: one row a job that runs; it goes with the job's end."""

from collections.abc import Sequence

from sqlalchemy import Connection, text

from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.engine.run_ports import Lease
from rivet.store.plain_json import storable

_RENEW = text(
    """
    UPDATE lease SET renewed_at = now(), helped = false FROM job
    WHERE lease.job_id = :job AND lease.epoch = :epoch AND lease.session = :session
      AND job.id = lease.job_id AND job.epoch = lease.epoch AND job.status = 'running'
    """
)
_NOTE_BEGUN = text(
    """
    UPDATE lease SET begun = array_append(begun, :what)
    WHERE job_id = :job AND epoch = :epoch AND session = :session AND NOT :what = ANY (begun)
    """
)
_BEGUN = text("SELECT unnest(begun) FROM lease WHERE job_id = :job AND epoch = :epoch")
_LATE = text(
    """
    SELECT lease.job_id, lease.epoch, lease.session, lease.helped,
           extract(epoch FROM now() - lease.renewed_at)::double precision AS age_s
    FROM lease JOIN job ON job.id = lease.job_id AND job.epoch = lease.epoch AND job.status = 'running'
    WHERE lease.renewed_at < now() - make_interval(secs => :older)
    ORDER BY lease.renewed_at
    """
)
_HELP = text(
    """
    UPDATE lease SET helped = true, renewed_at = greatest(renewed_at, now() - make_interval(secs => :age))
    WHERE job_id = :job AND epoch = :epoch AND NOT helped
    """
)


class PostgresLeases:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def renew(self, job: JobId, epoch: Epoch, session: SessionId) -> bool:
        renewed = self._connection.execute(_RENEW, {"job": job, "epoch": epoch, "session": session})
        return renewed.rowcount == 1

    def note_begun(self, job: JobId, epoch: Epoch, session: SessionId, stage: StageKey, attempt: int) -> None:
        what = f"{attempt} {storable(stage)}"
        self._connection.execute(
            _NOTE_BEGUN, {"job": job, "epoch": epoch, "session": session, "what": what}
        )

    def begun(self, job: JobId, epoch: Epoch) -> Sequence[tuple[StageKey, int]]:
        told = self._connection.execute(_BEGUN, {"job": job, "epoch": epoch}).scalars()
        parts = [one.partition(" ") for one in told]
        return [(StageKey(stage), int(number)) for number, _, stage in parts]

    def late(self, older_than_s: float) -> Sequence[Lease]:
        return [
            Lease(JobId(row.job_id), Epoch(row.epoch), SessionId(row.session), row.age_s, row.helped)
            for row in self._connection.execute(_LATE, {"older": older_than_s})
        ]

    def note_help(self, job: JobId, epoch: Epoch, age_s: float) -> None:
        self._connection.execute(_HELP, {"job": job, "epoch": epoch, "age": age_s})
