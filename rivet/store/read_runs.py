"""Runs as the API shows them: one, a page of them, and the one that a person means by a name."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Engine, bindparam, text

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.ids import RunId
from rivet.domain.states import Reason
from rivet.store.failures import told_as_unavailable
from rivet.store.find_runs import runs_found
from rivet.store.pauses import IS_PAUSED
from rivet.store.read_told import Told, annotations_of, summary_of, told_in
from rivet.store.record_days import DROPPED_AT
from rivet.store.records import iso

NO_RUNNER_AFTER_S = 5.0
_PREFIX = re.compile(r"[0-9a-f]{4,32}")
_NUMBERED = re.compile(r"([a-z0-9][a-z0-9-]{0,99})#([1-9][0-9]{0,9})")

_RUNS = f"""
    SELECT run.id, run.number, project.slug AS project, pipeline.slug AS pipeline, version.number AS version,
           run.status, run.reason, run.trigger, run.actor, run.plan, run.inputs, run.cancelled_by,
           run.waiting_since, run.created_at, run.started_at, run.ended_at, run.rerun_of, run_clock.lines,
           {DROPPED_AT.format(run="run.id")} AS logs_expired_at
    FROM run
    JOIN project ON project.id = run.project_id
    JOIN pipeline ON pipeline.id = run.pipeline_id
    JOIN version ON version.id = run.version_id
    JOIN run_clock ON run_clock.run_id = run.id
"""
_ONE = text(_RUNS + " WHERE run.id = :run")
_IS_THERE = text("SELECT 1 FROM run WHERE id = :run")
_LOGS_EXPIRED = text(f"SELECT {DROPPED_AT.format(run='CAST(:run AS uuid)')}")
_PAGE = _RUNS + " WHERE run.id = ANY (ARRAY({found})) ORDER BY run.id DESC"
_JOBS = text(
    """
    SELECT job.id, job.run_id, job.queue, job.status, job.reason, job.runner, job.isolation, job.queued_at,
           job.queued_at < now() - make_interval(secs => :patience) AS is_patient,
           EXISTS (
               SELECT FROM runner WHERE job.queue = ANY (runner.queues) AND runner.status = 'online'
                 AND runner.seen_at > now() - make_interval(secs => :lease)
           ) AS is_served,
           job.status = 'queued' AND """ + IS_PAUSED + """ AS is_paused
    FROM job WHERE job.run_id = ANY (:runs) ORDER BY job.ordinal
    """
).bindparams(bindparam("runs"))
_STAGES = text(
    """
    SELECT stage.id, stage.run_id, stage.job_id, stage.key, stage.name, stage.status, stage.reason,
           stage.waiting_since, stage.cancelled_by, stage.approved_by, stage.spec, stage.attempts,
           stage.from_run, ran.number AS from_number
    FROM stage LEFT JOIN run AS ran ON ran.id = stage.from_run
    WHERE stage.run_id = ANY (:runs) ORDER BY stage.run_id, stage.ordinal
    """
)
_ATTEMPTS = text(
    """
    SELECT attempt.stage_id, attempt.number, attempt.status, attempt.reason, attempt.exit_code, attempt.error,
           attempt.runner, attempt.started_at, attempt.ended_at, attempt.lines
    FROM attempt JOIN stage ON stage.id = attempt.stage_id
    WHERE stage.run_id = ANY (:runs) ORDER BY attempt.stage_id, attempt.number
    """
)
_BY_PREFIX = text("SELECT id FROM run WHERE id BETWEEN :lowest AND :highest ORDER BY id LIMIT 2")
_BY_NUMBER = text(
    """
    SELECT run.id FROM run
    JOIN pipeline ON pipeline.id = run.pipeline_id JOIN project ON project.id = run.project_id
    WHERE project.slug = :project AND pipeline.slug = :pipeline AND run.number = :number
    """
)

Shown = dict[str, Any]


class RunReads:
    """`lease_s`: a runner that was not heard of for so long serves nothing."""

    def __init__(self, engine: Engine, lease_s: float) -> None:
        self._engine = engine
        self._lease_s = lease_s

    def find(self, name: str, project: str = "default") -> RunId:
        """The run that `name` means: its id, a unique prefix of it, or `pipeline#12`.

        Raises NotFound, Conflict for a prefix of several.
        """
        try:
            if len(name) in (32, 36):
                return RunId(UUID(name))
        except ValueError:
            pass
        with told_as_unavailable(), self._engine.connect() as connection:
            found = self._named(name, project, connection)
        if not found:
            raise NotFound(
                f'there is no run "{name[:80]}"; a run is named by its id, '
                "a unique prefix of it (4 characters or more), or pipeline#number"
            )
        if len(found) > 1:
            raise Conflict(f'"{name}" is the beginning of several runs\' ids; give more of it')
        return found[0]

    def _named(self, name: str, project: str, connection: Connection) -> Sequence[RunId]:
        if numbered := _NUMBERED.fullmatch(name):
            if int(numbered[2]) >= 2**31:
                return []
            values: Mapping[str, Any] = {
                "project": project, "pipeline": numbered[1], "number": int(numbered[2])
            }
            return [RunId(run) for run in connection.execute(_BY_NUMBER, values).scalars()]
        prefix = name.lower().replace("-", "")
        if not _PREFIX.fullmatch(prefix):
            return []
        bounds = {"lowest": UUID(prefix.ljust(32, "0")), "highest": UUID(prefix.ljust(32, "f"))}
        return [RunId(run) for run in connection.execute(_BY_PREFIX, bounds).scalars()]

    def require(self, run: RunId) -> None:
        """Raises NotFound."""
        with told_as_unavailable(), self._engine.connect() as connection:
            if connection.execute(_IS_THERE, {"run": run}).one_or_none() is None:
                raise NotFound(f"there is no run {run}")

    def logs_expired_at(self, run: RunId) -> datetime | None:
        """When its records were dropped, if they were."""
        with told_as_unavailable(), self._engine.connect() as connection:
            return connection.execute(_LOGS_EXPIRED, {"run": run}).scalar_one()

    def one(self, run: RunId, base_url: str) -> Shown:
        """Raises NotFound."""
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_ONE, {"run": run}).all()
            if not rows:
                raise NotFound(f"there is no run {run}")
            shown = self._shown(rows, base_url, connection)[0]
            stages = shown["stages"]
            told: Told = ()
            if any(stage["attempts"] or stage["from_run"] for stage in stages):
                # Only attempts say any of it, and a run that was just started has none.
                told = told_in(run, stages)
            return shown | {
                "annotations": annotations_of(run, told, connection),
                "summary": summary_of(run, told, [stage["key"] for stage in stages], connection),
            }

    def page(
        self,
        *,
        project: str | None,
        pipeline: str | None,
        status: str | None,
        trigger: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: UUID | None,
        limit: int,
        base_url: str,
    ) -> tuple[list[Shown], str | None]:
        """Newest first, and where the next page begins, if there is one."""
        with told_as_unavailable(), self._engine.connect() as connection:
            found, values = runs_found(
                project=project, pipeline=pipeline, status=status, trigger=trigger, since=since, until=until,
                before=before,
            )
            wanted = text(_PAGE.format(found=found))
            rows = connection.execute(wanted, values | {"most": limit + 1}).all()
            items = self._shown(rows[:limit], base_url, connection)
        return items, str(rows[limit - 1].id) if len(rows) > limit else None

    def _shown(self, rows: Sequence[Any], base_url: str, connection: Connection) -> list[Shown]:
        runs = {"runs": [row.id for row in rows]}
        waits = {"patience": NO_RUNNER_AFTER_S, "lease": self._lease_s}
        jobs = defaultdict[UUID, list[Any]](list)
        for job in connection.execute(_JOBS, runs | waits):
            jobs[job.run_id].append(job)
        stages = defaultdict[UUID, list[Any]](list)
        begun = set[UUID]()
        for stage in connection.execute(_STAGES, runs):
            stages[stage.run_id].append(stage)
            if stage.attempts:
                begun.add(stage.run_id)
        attempts = defaultdict[UUID, list[Shown]](list)
        if begun:
            for attempt in connection.execute(_ATTEMPTS, {"runs": list(begun)}):
                attempts[attempt.stage_id].append(_attempt(attempt))
        return [_run(row, jobs[row.id], stages[row.id], attempts, base_url) for row in rows]


def _run(
    row: Any,
    jobs: Sequence[Any],
    stages: Sequence[Any],
    attempts: Mapping[UUID, list[Shown]],
    base_url: str,
) -> Shown:
    """A run whose queued job nobody works on says why it waits and since when."""
    waiting = next((job for job in jobs if job.status == "queued"), None)
    if row.ended_at is not None or any(job.status == "running" for job in jobs):
        waiting = None
    isolation = next((job.isolation for job in jobs if job.isolation), row.plan.get("isolation"))
    return {
        "id": str(row.id),
        "number": row.number,
        "project": row.project,
        "pipeline": row.pipeline,
        "version": row.version,
        "status": row.status,
        "reason": row.reason if waiting is None or row.reason else _why(waiting),
        "waiting_since": _waiting_since(row, waiting),
        "trigger": row.trigger,
        "actor": row.actor,
        "cancelled_by": row.cancelled_by,
        "rerun_of": None if row.rerun_of is None else str(row.rerun_of),
        "isolation": isolation,
        "inputs": row.inputs,
        "warnings": [],
        "created_at": _time(row.created_at),
        "started_at": _time(row.started_at),
        "ended_at": _time(row.ended_at),
        "url": f"{base_url}/api/v1/runs/{row.id}",
        "lines": row.lines,
        "logs_expired_at": _time(row.logs_expired_at),
        "stages": _stages(jobs, stages, attempts, base_url),
    }


def _waiting_since(row: Any, waiting: Any) -> str | None:
    if row.reason == Reason.CONCURRENCY.value and row.ended_at is None:
        return _time(row.created_at)
    return _time(waiting.queued_at) if waiting else _time(row.waiting_since)


def _stages(
    jobs: Sequence[Any], stages: Sequence[Any], attempts: Mapping[UUID, list[Shown]], base_url: str
) -> list[Shown]:
    job_of = {job.id: job for job in jobs}
    next_of: set[UUID] = set()
    shown: list[Shown] = []
    for stage in stages:
        job = job_of[stage.job_id]
        # The first stage that is to come bears the wait of its queued job; those after wait for it.
        bears = job.status == "queued" and stage.status == "pending" and job.id not in next_of
        if bears:
            next_of.add(job.id)
        tried = attempts.get(stage.id, [])
        shown.append({
            "key": stage.key,
            "name": stage.name,
            "job": str(stage.job_id),
            "status": stage.status,
            "reason": stage.reason or (_why(job) if bears else None),
            "waiting_since": _time(job.queued_at if bears else stage.waiting_since),
            "needs": list(stage.spec.get("needs") or ()),
            "group": stage.spec.get("group"),
            "queue": job.queue,
            "runner": tried[-1]["runner"] if tried else job.runner,
            "cancelled_by": stage.cancelled_by,
            "approved_by": stage.approved_by,
            "approval": stage.spec.get("approval"),
            "from_run": None if stage.from_run is None else _from_run(stage, base_url),
            "attempts": tried,
        })
    return shown


def _from_run(stage: Any, base_url: str) -> Shown:
    """Where a stage of a rerun really ran, if that is still there."""
    is_there = stage.from_number is not None
    return {
        "id": str(stage.from_run),
        "number": stage.from_number,
        "stage": stage.key,
        "url": f"{base_url}/api/v1/runs/{stage.from_run}" if is_there else None,
    }


def _why(job: Any) -> str:
    if job.is_paused:
        return Reason.PAUSED.value
    waits_in_vain = job.is_patient and not job.is_served
    return Reason.NO_RUNNER.value if waits_in_vain else Reason.QUEUE_BUSY.value


def _attempt(row: Any) -> Shown:
    return {
        "number": row.number,
        "status": row.status,
        "reason": row.reason,
        "exit_code": row.exit_code,
        "error": row.error,
        "runner": row.runner,
        "started_at": _time(row.started_at),
        "ended_at": _time(row.ended_at),
        "lines": row.lines,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else iso(at)
