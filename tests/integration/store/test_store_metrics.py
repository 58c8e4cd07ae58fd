"""Metrics from a real database: what waits, what goes on, and sums of what ended that nothing takes back."""

import re

import pytest
from sqlalchemy import event, text

from rivet.engine.begin_job import begin_job
from rivet.store.read_metrics import MetricReads

BOUNDS = (1.0, 10.0, 100.0)
ENDED = "ended_at = now() - make_interval(secs => :ago), started_at = now() - make_interval(secs => :ago + :took)"


@pytest.fixture
def sql(store):
    def execute(statement, **values):
        with store.engine.begin() as connection:
            return connection.execute(text(statement), values)

    return execute


@pytest.fixture
def metrics(store, sql):
    """On a database without runs."""
    sql("DELETE FROM run")
    sql("DELETE FROM runner")
    sql("DELETE FROM tally")
    sql("UPDATE tally_until SET until = '-infinity'")
    return MetricReads(store.engine, 4.0, BOUNDS, BOUNDS)


@pytest.fixture
def ended(a_run, sql):
    """A run of one stage that ended so many seconds ago; its pipeline's slug is `ended`."""

    def make(ago, took=5.0, status="passed", lines=7):
        planned = a_run("build", pipeline="ended")
        sql(f"UPDATE run SET status = :status, {ENDED} WHERE id = :run", status=status, ago=ago, took=took,
            run=planned.run.id)  # fmt: skip
        sql("INSERT INTO attempt (stage_id, number, job_id, epoch, status, runner, lines, started_at, ended_at) "
            "VALUES (:stage, 1, :job, 1, :status, 'r', :lines, now() - make_interval(secs => :ago + :took), "
            "now() - make_interval(secs => :ago))", stage=planned.stages[0].id, job=planned.job.id,
            status=status, lines=lines, ago=ago, took=took)  # fmt: skip
        return planned

    return make


def test_a_queue_tells_how_many_jobs_wait_and_for_how_long(metrics, a_run, store, sql):
    first, second = a_run(), a_run()
    for planned in (first, second):
        with store.begin() as tx:
            begin_job(planned.job, tx)
    sql("UPDATE outbox SET created_at = now() - interval '60 s' WHERE job_id = :job", job=first.job.id)
    measured = metrics.measured()
    jobs, oldest_s = measured.queues["default"]
    assert (jobs, 60 <= oldest_s < 90) == (2, True)
    assert measured.open_jobs == {"queued": 2}
    assert sum(measured.open_runs.values()) == 2


def test_a_delay_before_a_retry_is_no_waiting(metrics, a_run, store, sql):
    planned = a_run()
    with store.begin() as tx:
        begin_job(planned.job, tx)
    sql("UPDATE outbox SET created_at = now() - interval '1 h', not_before = now() + interval '1 h'")
    assert metrics.measured().queues["default"] == (1, 0.0)


def test_what_ended_is_counted_by_what_it_took_and_a_bound_holds_what_is_as_long(metrics, ended):
    for took in (0.5, 1.0, 1.5, 10.0, 5000.0):
        ended(ago=1, took=took)
    ended(ago=1, took=2.0, status="failed")
    measured = metrics.measured()
    assert measured.runs["passed"].by_bound == {1.0: 2, 10.0: 2, float("inf"): 1}
    assert measured.stages["passed"].seconds == pytest.approx(5013)
    assert measured.runs["failed"].many == 1
    assert measured.open_runs == {}


def test_a_run_that_never_started_took_no_time(metrics, ended, sql):
    run = ended(ago=1, status="cancelled").run.id
    sql("UPDATE run SET started_at = NULL WHERE id = :run", run=run)
    assert metrics.measured().runs["cancelled"].by_bound == {1.0: 1}


def test_sums_stay_as_they_are_while_they_are_added_up_and_when_runs_are_deleted(metrics, ended, sql, store):
    for ago in (100_000, 1000, 301, 200, 1):
        ended(ago=ago, status="lost")
    first = metrics.measured()
    assert (first.stages["lost"].many, first.stages["lost"].lines) == (5, 35)
    assert sql("SELECT count(*) FROM tally").scalar_one() == 0  # who asks does not write
    assert not metrics.add_up()
    assert sql("SELECT sum(ended) FROM tally WHERE kind = 'stage'").scalar_one() == 3
    assert MetricReads(store.engine, 4.0, BOUNDS, BOUNDS).measured().stages == first.stages
    sql("DELETE FROM run WHERE ended_at < now() - interval '900 s'")
    assert metrics.measured().stages == first.stages


def test_each_end_is_added_once_however_often_it_is_added_up(metrics, ended, sql):
    for count in range(1, 4):
        sql("UPDATE tally_until SET until = until - interval '700 s' WHERE until > '-infinity'")
        sql("UPDATE run SET ended_at = ended_at - interval '700 s'")
        ended(ago=400)
        assert metrics.measured().runs["passed"].many == count
        assert not metrics.add_up()
        assert metrics.measured().runs["passed"].many == count
        assert sql("SELECT sum(ended) FROM tally WHERE kind = 'run'").scalar_one() == count


def test_a_long_past_is_added_up_a_part_at_a_time_and_told_when_that_is_done(store, metrics, ended, sql):
    for ago in range(1000, 1012):
        ended(ago=ago)
    upgraded = MetricReads(store.engine, 4.0, BOUNDS, BOUNDS, most_added=5, most_lately=4)
    summed, is_more = 0, True
    while is_more:
        if summed < 12 - 4:
            found = upgraded.measured()
            assert (found.is_added_up, found.runs, found.stages) == (False, {}, {})
        before, is_more = summed, upgraded.add_up()
        summed = sql("SELECT coalesce(sum(ended), 0) FROM tally WHERE kind = 'run'").scalar_one()
        assert summed - before <= 5 + 1  # the one up to which it goes is one more
    ended(ago=1)
    found = upgraded.measured()
    assert found.is_added_up
    assert (found.runs["passed"].many, found.stages["passed"].many) == (13, 13)


def test_runners_are_told_with_their_slots_and_the_silent_ones_as_lost(metrics, a_runner, sql):
    a_runner("here"), a_runner("silent"), a_runner("left")
    sql("UPDATE runner SET seen_at = now() - interval '60 s' WHERE name = 'silent'")
    sql("UPDATE runner SET status = 'offline' WHERE name = 'left'")
    told = {runner.name: (runner.status, runner.slots) for runner in metrics.measured().runners}
    assert told == {"here": ("online", 2), "silent": ("lost", 2)}


def test_no_metric_reads_all_that_ever_ended(metrics, ended, sql, store):
    metrics.measured()
    sql("INSERT INTO run (id, project_id, pipeline_id, version_id, number, status, inputs, facts, plan, actor, "
        "trigger, ended_at) SELECT gen_random_uuid(), project_id, pipeline_id, version_id, number + one, 'passed', "
        "inputs, facts, plan, actor, trigger, now() - interval '9 days' FROM run, generate_series(1, 3000) one "
        "WHERE id = :run", run=ended(ago=1).run.id)  # fmt: skip
    sql("ANALYZE run")
    sql("UPDATE tally_until SET until = now() - interval '1 h'")
    asked = []

    def note(_connection, _cursor, statement, values, *_):
        asked.append((statement, values))

    event.listen(store.engine, "before_cursor_execute", note)
    metrics.measured()
    metrics.add_up()
    event.remove(store.engine, "before_cursor_execute", note)
    with store.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # then whatever has an index is read by it
        plans = [
            "\n".join(row[0] for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values))
            for statement, values in asked
        ]
    read = set(re.findall(r"(?:using|Index Scan on) (\w+)", "\n".join(plans)))
    assert {"run_ended", "run_open", "attempt_ended", "attempt_live"} <= read
    assert not read & {"run_pkey", "run_newest", "run_of_pipeline", "attempt_pkey", "stage_pkey"}
    assert not re.findall(r"Seq Scan on (?:run|attempt|stage|job|record)\b", "\n".join(plans))
