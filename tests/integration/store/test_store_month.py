"""A month simulated: what is stored stays within what the ledger says, and the forecast holds."""

import pytest

from rivet.domain.retention import LOGS, RUNS
from rivet.engine.open_days import AHEAD_DAYS
from rivet.store.unit import PostgresStore
from tests.measure.month import KEEP, foretold, simulate

RUNS_A_DAY, DAYS, PIPELINES = 120, 30, 5


@pytest.fixture(scope="module")
def month(postgres, migrated_template):
    postgres.execute(f"CREATE DATABASE month TEMPLATE {migrated_template}")
    store = PostgresStore(postgres.dsn("month"))
    yield simulate(store, RUNS_A_DAY, DAYS, pipelines=PIPELINES)
    store.close()
    postgres.execute("DROP DATABASE month WITH (FORCE)")


def test_no_more_runs_are_there_than_of_the_days_that_are_kept(month):
    assert month.runs[-1] <= (KEEP.runs_days + 1) * RUNS_A_DAY + PIPELINES
    assert month.went >= (DAYS - KEEP.runs_days - 1) * RUNS_A_DAY - PIPELINES


def test_no_more_days_of_records_are_there_than_are_kept(month):
    # Those of the days to come, that of today, the one that takes all others, and one that is just over.
    assert max(month.parts) <= KEEP.logs_days + AHEAD_DAYS + 3
    assert month.parts[-1] == month.parts[-5]


def test_sizes_stop_growing_when_the_first_has_gone(month):
    logs = [day[LOGS] for day in month.sizes]
    runs = [day[RUNS] for day in month.sizes]
    assert logs[5] > 1.5 * logs[1]
    assert max(logs[KEEP.logs_days + 2 :]) < 1.1 * logs[KEEP.logs_days + 1]
    assert max(runs[KEEP.runs_days + 2 :]) < 1.2 * runs[KEEP.runs_days + 1]


@pytest.mark.parametrize(("by_day", "until_day"), [(3, 6), (4, 8), (5, 10)])
def test_the_forecast_is_right_within_a_fifth(month, by_day, until_day):
    assert foretold(month, by_day, until_day) == pytest.approx(1.0, abs=0.2)
