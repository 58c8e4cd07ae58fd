"""What is over its time: which rows, by age, number or size, in batches.

The last run of a pipeline that passed never goes: it says what the pipeline is when it works.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, bindparam, text

from rivet.domain.ids import ProjectId, RunId
from rivet.engine.retention_ports import Held
from rivet.store.record_days import forget_records

_NOT_LAST_PASSED = """
    (run.status <> 'passed' OR EXISTS (
        SELECT FROM run AS newer
        WHERE newer.pipeline_id = run.pipeline_id AND newer.id > run.id AND newer.status = 'passed'
    ))
"""
_BY_AGE = text(
    f"""
    SELECT run.id FROM run
    WHERE run.ended_at < :now - make_interval(days => :days) AND {_NOT_LAST_PASSED}
    ORDER BY run.ended_at LIMIT :most FOR UPDATE OF run SKIP LOCKED
    """
)
_BY_OWN_AGE = text(
    f"""
    SELECT run.id FROM pipeline JOIN run ON run.pipeline_id = pipeline.id
    WHERE pipeline.keep_days < :days AND run.ended_at < :now - make_interval(days => pipeline.keep_days)
      AND {_NOT_LAST_PASSED}
    LIMIT :most FOR UPDATE OF run SKIP LOCKED
    """
)
_BY_NUMBER = text(
    f"""
    SELECT run.id FROM pipeline
    CROSS JOIN LATERAL (
        SELECT kept.id FROM run AS kept WHERE kept.pipeline_id = pipeline.id AND kept.ended_at IS NOT NULL
        ORDER BY kept.id DESC OFFSET pipeline.keep_runs
    ) AS over
    JOIN run ON run.id = over.id
    WHERE pipeline.keep_runs IS NOT NULL AND {_NOT_LAST_PASSED}
    LIMIT :most FOR UPDATE OF run SKIP LOCKED
    """
)
_DELETE_RUNS = text("DELETE FROM run WHERE id IN :runs AND ended_at IS NOT NULL").bindparams(
    bindparam("runs", expanding=True)
)
_EXPIRE_OLD = text(
    f"""
    UPDATE artifact SET expired_at = :now, expired_size = blob.size, blob_id = NULL
    FROM blob, (
        SELECT artifact.run_id, artifact.name FROM artifact JOIN run ON run.id = artifact.run_id
        WHERE artifact.expired_at IS NULL AND artifact.created_at < :before AND run.ended_at IS NOT NULL
          AND {_NOT_LAST_PASSED}
        ORDER BY artifact.created_at LIMIT :most FOR UPDATE OF artifact SKIP LOCKED
    ) AS over
    WHERE blob.id = artifact.blob_id AND artifact.run_id = over.run_id AND artifact.name = over.name
    """
)
# Each of them is looked up by itself, whatever the planner thinks of how many there are.
_EXPIRE_THESE = text(
    """
    UPDATE artifact SET expired_at = :now, blob_id = NULL,
                        expired_size = (SELECT size FROM blob WHERE blob.id = artifact.blob_id)
    WHERE blob_id IS NOT NULL AND ctid = ANY (ARRAY(
        SELECT held.place
        FROM unnest(CAST(:runs AS uuid[]), CAST(:names AS text[])) AS these (run_id, name)
        CROSS JOIN LATERAL (
            SELECT FROM run WHERE run.id = these.run_id AND run.ended_at IS NOT NULL OFFSET 0
        ) AS ended
        CROSS JOIN LATERAL (
            SELECT ctid AS place FROM artifact
            WHERE artifact.run_id = these.run_id AND artifact.name = these.name OFFSET 0
        ) AS held
    ))
    """
)
_ARTIFACTS_HELD = text(
    """
    SELECT blob.project_id, artifact.created_at AS at, artifact.run_id, artifact.name AS key, blob.size
    FROM artifact
    CROSS JOIN LATERAL (SELECT project_id, size FROM blob WHERE id = artifact.blob_id OFFSET 0) AS blob
    WHERE artifact.expired_at IS NULL
      AND (artifact.created_at, artifact.run_id, artifact.name)
        < (CAST(:at AS timestamptz), CAST(:run AS uuid), :key)
    ORDER BY artifact.created_at DESC, artifact.run_id DESC, artifact.name DESC LIMIT :most
    """
)
_CACHES_HELD = text(
    """
    SELECT cache.project_id, cache.used_at AS at, NULL AS run_id, cache.id AS key, blob.size
    FROM cache
    CROSS JOIN LATERAL (SELECT size FROM blob WHERE id = cache.blob_id OFFSET 0) AS blob
    WHERE (cache.used_at, cache.id) < (CAST(:at AS timestamptz), CAST(:key AS uuid))
    ORDER BY cache.used_at DESC, cache.id DESC LIMIT :most
    """
)
_LAST = UUID(int=2**128 - 1)
_DROP_CACHES = text(
    """
    DELETE FROM cache WHERE used_at < :before AND id IN (
        SELECT id FROM cache WHERE used_at < :before ORDER BY used_at LIMIT :most
    )
    """
)
_DROP_THESE_CACHES = text(
    """
    DELETE FROM cache
    USING unnest(CAST(:ids AS uuid[]), CAST(:times AS timestamptz[])) AS these (id, used_at)
    WHERE cache.id = these.id AND cache.used_at = these.used_at
    """
)
# Looked at again under the row's lock: who starts a run from a folder has marked it as used.
_DROP_FOLDERS = text(
    """
    DELETE FROM folder WHERE used_at < :before AND (project_id, sha256) IN (
        SELECT project_id, sha256 FROM folder AS old WHERE used_at < :before AND NOT EXISTS (
            SELECT FROM run
            WHERE run.project_id = old.project_id AND run.folder = old.sha256 AND run.ended_at IS NULL
        ) ORDER BY used_at LIMIT :most
    )
    """
)
_DROP_VERSIONS = text(
    """
    DELETE FROM version WHERE id IN (
        SELECT id FROM version AS old WHERE number IS NULL AND created_at < :before
          AND NOT EXISTS (SELECT FROM run WHERE run.version_id = old.id)
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED
    )
    """
)
_FORGET_RUNNERS = text(
    """
    DELETE FROM runner WHERE name IN (
        SELECT name FROM runner AS gone WHERE status IN ('offline', 'lost') AND seen_at < :before
          AND NOT EXISTS (SELECT FROM job WHERE job.session = gone.session AND job.status = 'running')
        ORDER BY name LIMIT :most FOR UPDATE SKIP LOCKED
    ) RETURNING name
    """
)


class PostgresExpiry:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def old_runs(self, now: datetime, keep_days: int, limit: int) -> Sequence[RunId]:
        found: dict[RunId, None] = {}
        for which in (_BY_AGE, _BY_OWN_AGE, _BY_NUMBER):
            asked: dict[str, Any] = {"now": now, "days": keep_days, "most": limit}
            if which is _BY_NUMBER:
                asked = {"most": limit}
            found |= dict.fromkeys(RunId(run) for run in self._connection.execute(which, asked).scalars())
            if len(found) >= limit:
                break
        return list(found)[:limit]

    def delete_runs(self, runs: Sequence[RunId]) -> None:
        if runs:
            forget_records(runs, self._connection)
            self._connection.execute(_DELETE_RUNS, {"runs": list(runs)})

    def expire_artifacts(self, now: datetime, made_before: datetime, limit: int) -> int:
        return self._count(_EXPIRE_OLD, now=now, before=made_before, most=limit)

    def artifacts_held(self, after: Held | None, limit: int) -> Sequence[Held]:
        behind = {"at": "infinity", "run": _LAST, "key": ""}
        if after is not None:
            behind = {"at": after.at, "run": after.run, "key": after.key}
        return [
            Held(ProjectId(row.project_id), row.at, RunId(row.run_id), row.key, row.size)
            for row in self._connection.execute(_ARTIFACTS_HELD, {**behind, "most": limit})
        ]

    def expire_these_artifacts(self, now: datetime, these: Sequence[Held]) -> int:
        runs, names = [held.run for held in these], [held.key for held in these]
        return self._count(_EXPIRE_THESE, now=now, runs=runs, names=names)

    def drop_caches(self, used_before: datetime, limit: int) -> int:
        return self._count(_DROP_CACHES, before=used_before, most=limit)

    def caches_held(self, after: Held | None, limit: int) -> Sequence[Held]:
        behind = {"at": "infinity", "key": _LAST}
        if after is not None:
            behind = {"at": after.at, "key": after.key}
        return [
            Held(ProjectId(row.project_id), row.at, None, str(row.key), row.size)
            for row in self._connection.execute(_CACHES_HELD, {**behind, "most": limit})
        ]

    def drop_these_caches(self, these: Sequence[Held]) -> int:
        ids, times = [held.key for held in these], [held.at for held in these]
        return self._count(_DROP_THESE_CACHES, ids=ids, times=times)

    def drop_folders(self, used_before: datetime, limit: int) -> int:
        return self._count(_DROP_FOLDERS, before=used_before, most=limit)

    def drop_versions(self, made_before: datetime, limit: int) -> int:
        return self._count(_DROP_VERSIONS, before=made_before, most=limit)

    def forget_runners(self, seen_before: datetime, limit: int) -> Sequence[str]:
        asked = {"before": seen_before, "most": limit}
        return list(self._connection.execute(_FORGET_RUNNERS, asked).scalars())

    def _count(self, statement: Any, **asked: Any) -> int:
        return self._connection.execute(statement, asked).rowcount
