"""What a transaction makes: runs, jobs and stages, written together by one statement.

They are kept until the transaction asks the database for anything else, or ends. A job that begins before
that is written as begun.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, cast

from sqlalchemy import JSON, Connection, bindparam, text

from rivet.domain.ids import Epoch, JobId
from rivet.domain.job import Job
from rivet.domain.run import Run
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus
from rivet.store.plain_json import storable
from rivet.store.seen import Seen

_WRITE = text(
    """
    WITH runs AS (
        INSERT INTO run (id, project_id, pipeline_id, version_id, number, status, reason, inputs, facts, plan,
                         actor, trigger, created_at, turn, folder, rerun_of)
        SELECT * FROM json_to_recordset(:runs) AS told (
            id uuid, project_id uuid, pipeline_id uuid, version_id uuid, number integer, status text,
            reason text, inputs json, facts json, plan json, actor text, trigger text, created_at timestamptz,
            turn text, folder bytea, rerun_of uuid
        )
        RETURNING id
    ),
    clocks AS (INSERT INTO run_clock (run_id) SELECT id FROM runs),
    jobs AS (
        INSERT INTO job (id, run_id, ordinal, queue, status, reason, epoch, on_lost, ingested_seq, waits_for,
                         starts_from, grouped, is_last, is_cancelled, origin, ended_at, queued_at)
        SELECT told.*, CASE WHEN told.status = 'queued' THEN now() END
        FROM json_to_recordset(:jobs) AS told (
            id uuid, run_id uuid, ordinal integer, queue text, status text, reason text, epoch integer,
            on_lost text, ingested_seq bigint, waits_for uuid[], starts_from uuid, grouped json,
            is_last boolean, is_cancelled boolean, origin json, ended_at timestamptz
        )
    ),
    queued AS (
        INSERT INTO outbox (job_id, epoch, queue, not_before)
        SELECT job_id, epoch, queue, CASE WHEN after_s > 0 THEN now() + make_interval(secs => after_s) END
        FROM json_to_recordset(:queued) AS told (
            job_id uuid, epoch integer, queue text, after_s double precision
        )
    )
    INSERT INTO stage (id, run_id, job_id, key, name, ordinal, status, reason, env, timeout_s, spec,
                       approved_by, from_run)
    SELECT * FROM json_to_recordset(:stages) AS told (
        id uuid, run_id uuid, job_id uuid, key text, name text, ordinal integer, status text, reason text,
        env json, timeout_s double precision, spec json, approved_by text, from_run uuid
    )
    """
).bindparams(*(bindparam(name, type_=JSON) for name in ("runs", "jobs", "queued", "stages")))


class Made:
    """Of one transaction."""

    def __init__(self, connection: Connection, seen: Seen) -> None:
        self._connection = connection
        self._seen = seen
        self._runs: list[Run] = []
        self._jobs: dict[JobId, Job] = {}
        self._queued: list[dict[str, Any]] = []
        self._stages: list[Stage] = []

    def add_run(self, run: Run) -> None:
        self._runs.append(run)

    def add_job(self, job: Job) -> None:
        self._jobs[job.id] = job

    def add_stage(self, stage: Stage) -> None:
        self._stages.append(stage)

    def begin(self, job: Job, queue: str, after_s: float) -> Job | None:
        """The job as it is begun, where it is one that is kept here; else None, and it is to be written."""
        kept, now = self._jobs.get(job.id), self._seen.now
        if kept is None or now is None or (kept.status, kept.epoch) != (job.status, job.epoch):
            return None
        begun = replace(
            kept, status=JobStatus.QUEUED, reason=None, epoch=Epoch(kept.epoch + 1), queued_at=now
        )
        self._jobs[job.id] = begun
        self._queued.append({"job_id": str(job.id), "epoch": begun.epoch, "queue": queue, "after_s": after_s})
        return begun

    def write(self) -> None:
        """Nothing happens where nothing is kept."""
        if not (self._runs or self._jobs or self._stages):
            return
        told = {
            "runs": [_run(run) for run in self._runs],
            "jobs": [_job(job) for job in self._jobs.values()],
            "queued": self._queued,
            "stages": [_stage(stage) for stage in self._stages],
        }
        self._runs, self._jobs, self._queued, self._stages = [], {}, [], []
        self._connection.execute(_WRITE, told)


class _After:
    """A connection before whose every use is written what was made."""

    def __init__(self, connection: Connection, made: Made) -> None:
        self._connection = connection
        self._made = made

    def __getattr__(self, name: str) -> Any:
        self._made.write()
        return getattr(self._connection, name)


def after(made: Made, connection: Connection) -> Connection:
    """The connection for whoever may ask for what was made."""
    return cast("Connection", _After(connection, made))


def _run(run: Run) -> Mapping[str, Any]:
    return {
        "id": str(run.id),
        "project_id": str(run.project_id),
        "pipeline_id": str(run.pipeline_id),
        "version_id": str(run.version_id),
        "number": run.number,
        "status": run.status,
        "reason": run.reason,
        "inputs": run.inputs,
        "facts": run.facts,
        "plan": asdict(run.plan),
        "actor": run.actor,
        "trigger": run.trigger,
        "created_at": run.created_at.isoformat(),
        "turn": run.turn,
        "folder": None if run.folder is None else f"\\x{run.folder}",
        "rerun_of": None if run.rerun_of is None else str(run.rerun_of),
    }


def _job(job: Job) -> Mapping[str, Any]:
    return {
        "id": str(job.id),
        "run_id": str(job.run_id),
        "ordinal": job.ordinal,
        "queue": job.queue,
        "status": job.status,
        "reason": job.reason,
        "epoch": job.epoch,
        "on_lost": job.on_lost,
        "ingested_seq": job.ingested_seq,
        "waits_for": [str(other) for other in job.waits_for],
        "starts_from": None if job.starts_from is None else str(job.starts_from),
        "grouped": None if job.group is None else asdict(job.group),
        "is_last": job.is_last,
        "is_cancelled": job.is_cancelled,
        "origin": None if job.origin is None else job.origin.as_dict(),
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }


def _stage(stage: Stage) -> Mapping[str, Any]:
    return {
        "id": str(stage.id),
        "run_id": str(stage.run_id),
        "job_id": str(stage.job_id),
        "key": stage.key,
        "name": storable(stage.name),
        "ordinal": stage.ordinal,
        "status": stage.status,
        "reason": stage.reason,
        "env": stage.env,
        "timeout_s": stage.timeout_s,
        "spec": stage.spec.as_dict(),
        "approved_by": stage.approved_by,
        "from_run": None if stage.from_run is None else str(stage.from_run),
    }
