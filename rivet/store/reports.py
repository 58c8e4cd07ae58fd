"""What stages reported: test cases and coverage."""

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert as upsert

from rivet.domain.ids import RunId, StageKey
from rivet.domain.report import Case, Coverage
from rivet.store.kept_tables import COVERAGE, TEST_CASE

_ADD_TESTS = upsert(TEST_CASE).on_conflict_do_nothing()
_ADD_COVERAGE = upsert(COVERAGE).on_conflict_do_nothing()


class PostgresReports:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add_tests(
        self, run: RunId, stage: StageKey, attempt: int, first: int, cases: Sequence[Case]
    ) -> None:
        rows = [
            {
                "run_id": run,
                "stage": stage,
                "attempt": attempt,
                "place": place,
                "suite": case.suite,
                "classname": case.classname,
                "name": case.name,
                "status": case.status.value,
                "seconds": case.seconds,
                "message": case.message,
                "details": case.details,
            }
            for place, case in enumerate(cases, first)
        ]
        if rows:
            self._connection.execute(_ADD_TESTS, rows)

    def add_coverage(
        self, run: RunId, stage: StageKey, attempt: int, place: int, coverage: Coverage
    ) -> None:
        self._connection.execute(
            _ADD_COVERAGE,
            {
                "run_id": run,
                "stage": stage,
                "attempt": attempt,
                "place": place,
                "source": coverage.source,
                "form": coverage.form,
                "lines": coverage.lines,
                "covered": coverage.covered,
            },
        )
