"""Artifacts, tests and coverage of a run as the API shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, text

from rivet.domain.ids import RunId
from rivet.domain.report import FLAKY_RUNS, WORST_FIRST, CaseStatus, counts
from rivet.store.failures import told_as_unavailable
from rivet.store.records import iso

_ARTIFACTS = text(
    """
    SELECT artifact.name, artifact.stage, artifact.attempt, artifact.form, artifact.filename, artifact.files,
           artifact.created_at, artifact.expired_at, coalesce(blob.size, artifact.expired_size) AS size,
           blob.sha256
    FROM artifact LEFT JOIN blob ON blob.id = artifact.blob_id
    WHERE artifact.run_id = :run AND artifact.name > :after
    ORDER BY artifact.name LIMIT :most
    """
)
# Of each stage the last attempt that reported: what an earlier one said was said again.
# A stage that stands in a rerun reported in the run in which it ran.
_LATEST = """
    reported AS (SELECT coalesce(from_run, run_id) AS run_id, key AS stage FROM stage WHERE run_id = :run),
    latest AS (
        SELECT run_id, stage, max(attempt) AS attempt FROM {table} JOIN reported USING (run_id, stage)
        GROUP BY run_id, stage
    )
"""
_COUNTS = text(
    f"""
    WITH {_LATEST.format(table="test_case")}
    SELECT status, count(*) AS number FROM test_case JOIN latest USING (run_id, stage, attempt)
    GROUP BY status
    """
)
_FLAKY = f"""
    recent AS (
        SELECT run.id FROM run
        WHERE run.pipeline_id = (SELECT pipeline_id FROM run WHERE id = :run) AND run.id <= :run
        ORDER BY run.id DESC LIMIT {FLAKY_RUNS}
    ),
    flaky AS (
        SELECT suite, classname, name FROM test_case
        WHERE run_id = ANY (ARRAY(SELECT id FROM recent))
        GROUP BY suite, classname, name
        HAVING bool_or(status = 'passed') AND bool_or(status IN ('failed', 'errored'))
    )
"""
_TESTS = text(
    f"""
    WITH {_LATEST.format(table="test_case")}, {_FLAKY}
    SELECT test_case.*, flaky.name IS NOT NULL AS is_flaky
    FROM test_case JOIN latest USING (run_id, stage, attempt)
    LEFT JOIN flaky USING (suite, classname, name)
    ORDER BY array_position(CAST(:order AS text[]), status), stage, place
    LIMIT :most OFFSET :skipped
    """
)
_NUMBER_FLAKY = text(
    f"""
    WITH {_LATEST.format(table="test_case")}, {_FLAKY}
    SELECT count(*) FROM test_case
    JOIN latest USING (run_id, stage, attempt) JOIN flaky USING (suite, classname, name)
    """
)
_COVERAGE = text(
    f"""
    WITH {_LATEST.format(table="coverage")}
    SELECT stage, source, form, lines, covered FROM coverage JOIN latest USING (run_id, stage, attempt)
    ORDER BY stage, place
    """
)

Shown = dict[str, Any]


class KeptReads:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def artifacts(self, run: RunId, after: str, limit: int) -> tuple[list[Shown], str | None]:
        """By name, and where the next page begins, if there is one."""
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_ARTIFACTS, {"run": run, "after": after, "most": limit + 1}).all()
        shown = [_artifact(row) for row in rows[:limit]]
        return shown, rows[limit - 1].name if len(rows) > limit else None

    def tests(self, run: RunId, skipped: int, limit: int) -> tuple[list[Shown], str | None]:
        """Failures first, and where the next page begins, if there is one."""
        order = [status.value for status in WORST_FIRST]
        asked = {"run": run, "skipped": skipped, "most": limit + 1, "order": order}
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_TESTS, asked).all()
        return [_test(row) for row in rows[:limit]], str(skipped + limit) if len(rows) > limit else None

    def totals(self, run: RunId) -> Mapping[str, int]:
        """How many tests, of each status, and how many of them are flaky."""
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_COUNTS, {"run": run})
            found = [(CaseStatus(row.status), row.number) for row in rows]
            flaky = connection.execute(_NUMBER_FLAKY, {"run": run}).scalar_one() if found else 0
        return {**counts(found), "flaky": flaky}

    def coverage(self, run: RunId) -> Sequence[Shown]:
        with told_as_unavailable(), self._engine.connect() as connection:
            rows = connection.execute(_COVERAGE, {"run": run}).all()
        return [
            {
                "stage": row.stage,
                "source": row.source,
                "format": row.form,
                "lines": row.lines,
                "covered": row.covered,
                "line_rate": round(row.covered / row.lines, 6) if row.lines else 1.0,
            }
            for row in rows
        ]


def _artifact(row: Any) -> Shown:
    return {
        "name": row.name,
        "stage": row.stage,
        "attempt": row.attempt,
        "format": row.form,
        "filename": row.filename,
        "files": row.files,
        "size": row.size,
        "sha256": None if row.sha256 is None else bytes(row.sha256).hex(),
        "created_at": iso(row.created_at),
        "expired_at": None if row.expired_at is None else iso(row.expired_at),
    }


def _test(row: Any) -> Shown:
    return {
        "stage": row.stage,
        "attempt": row.attempt,
        "suite": row.suite,
        "classname": row.classname,
        "name": row.name,
        "status": row.status,
        "seconds": row.seconds,
        "message": row.message,
        "details": row.details,
        "flaky": row.is_flaky,
    }
