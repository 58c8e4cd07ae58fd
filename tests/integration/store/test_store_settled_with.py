"""A job is settled in the transaction that takes in its last record, and what is locked there is as it is."""

import threading
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import text

from rivet.domain.ids import JobId
from rivet.domain.record import Record, RecordType
from rivet.domain.states import RunStatus
from rivet.engine.begin_job import begin_job
from rivet.engine.claim_job import claim_job
from rivet.engine.ingest_records import ingest_records
from rivet.engine.ports import Token
from rivet.engine.settle_job import settle_job
from rivet.keyring import Keyring
from rivet.store.read_records import RecordReads
from rivet.store.read_runs import RunReads

AT = "2026-01-02T03:04:05.600000Z"
TICKETS = Keyring("k" * 32).tickets()


@pytest.fixture
def held(store, a_run, a_runner):
    """Runs of one stage whose jobs the same runner holds, and its name."""

    def make(count=1):
        runner = a_runner()
        token = Token(runner.token_id, "runner", "r", ("default",), runner.seen_at)
        runs = [a_run("build") for _ in range(count)]
        for planned in runs:
            with store.begin() as tx:
                begin_job(planned.job, tx)
            claim_job(planned.job.id, runner.session, 1, 1, token, store=store, tickets=TICKETS)
        return runner.name, runs

    return make


def journal(job):
    log = {"first": 1, "count": 2, "marks": [[0, AT, "log", "info"]]}
    ended = {"status": "passed", "reason": None, "exit_code": None, "error": None, "lines": 2, "bytes": 9}
    said = (
        (RecordType.ATTEMPT_STARTED, {}), (RecordType.LOG, log), (RecordType.ATTEMPT_ENDED, ended),
        (RecordType.JOB_DONE, {"last_seq": 4}),
    )
    return [
        Record(job, 1, seq, AT, kind, None if kind is RecordType.JOB_DONE else "build",
               None if kind is RecordType.JOB_DONE else 1, data, b"")
        for seq, (kind, data) in enumerate(said, 1)
    ]


def test_the_last_record_ends_job_and_run_and_who_comes_later_changes_nothing(store, held):
    runner, [planned] = held()
    records = journal(planned.job.id)
    taken = ingest_records(runner, records, store=store, settle=True)
    assert (taken.done, taken.settled, taken.dropped) == ([(planned.job.id, 1)], [(planned.job.id, 1)], 0)
    assert not settle_job(planned.job.id, 1, store=store)
    assert ingest_records(runner, records, store=store, settle=True).settled == []
    shown = RunReads(store.engine, 4.0).one(planned.run.id, "http://x")
    assert (shown["status"], shown["lines"]) == ("passed", 2)
    assert shown["stages"][0]["attempts"][0]["lines"] == 2
    entries = RecordReads(store.engine).after(planned.run.id, 0, 100)
    assert [entry.pos for entry in entries] == list(range(1, len(entries) + 1))
    assert [entry.type for entry in entries[-3:]] == ["job_done", "job_ended", "run_ended"]
    assert entries[-1].data["lines"] == 2


def test_runs_that_end_in_one_batch_are_each_ended_with_their_own_lines(store, held):
    runner, runs = held(3)
    ending, going, other = (planned.job.id for planned in runs)
    batch = [*journal(other), *journal(going)[:2], *journal(ending)]
    taken = ingest_records(runner, batch, store=store, settle=True)
    assert set(taken.settled) == {(ending, 1), (other, 1)}
    reads = RunReads(store.engine, 4.0)
    shown = [reads.one(planned.run.id, "http://x") for planned in runs]
    assert [run["status"] for run in shown] == ["passed", "running", "passed"]
    assert [run["lines"] for run in shown] == [2, 2, 2]
    assert [run["stages"][0]["attempts"][0]["lines"] for run in shown] == [2, 2, 2]


def test_who_waits_for_a_clock_sees_what_was_done_at_it_meanwhile(store, a_run):
    planned = a_run()
    waits, found = threading.Event(), []

    def wait_for_it():
        with store.begin() as tx:
            tx.now()
            waits.set()
            found.append(tx.runs.lock(planned.run.id))

    other = threading.Thread(target=wait_for_it)
    with store.begin() as tx:
        run = tx.runs.lock(planned.run.id)
        other.start()
        assert waits.wait(10)
        until_somebody_waits(store)
        assert tx.runs.move(run, RunStatus.RUNNING)
        tx.records.append(run.id, journal(planned.job.id)[:1])
    other.join(10)
    assert found[0].status is RunStatus.RUNNING
    assert found[0].started_at is not None


def until_somebody_waits(store):
    for _ in range(1000):
        with store.engine.connect() as connection:
            if connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted")).scalar_one():
                return
    raise AssertionError("nobody waits for the clock")


def test_a_job_that_came_while_the_others_were_locked_is_among_the_run_s_jobs(store, a_run):
    planned = a_run()
    added = replace(planned.job, id=JobId(uuid.uuid4()), ordinal=2)
    with store.begin() as tx:
        assert [job.id for job in tx.jobs.lock_of_run(planned.run.id)] == [planned.job.id]
        assert tx.stages.of_run(planned.run.id) != []
        with store.begin() as other:
            other.jobs.add(added)
            other.stages.add([replace(planned.stages[0], id=uuid.uuid4(), job_id=added.id, key="late", ordinal=2)])
        tx.runs.lock(planned.run.id)
        assert [job.id for job in tx.jobs.of_run(planned.run.id)] == [planned.job.id, added.id]
        assert [stage.key for stage in tx.stages.of_run(planned.run.id)] == ["build", "late"]


def test_jobs_that_are_locked_and_all_there_are_are_not_read_again(store, a_run):
    planned = a_run()
    with store.begin() as tx:
        tx.jobs.lock_all([], [planned.job.id])
        tx.runs.lock(planned.run.id)
        first = tx.jobs.of_run(planned.run.id)
        assert tx.jobs.of_run(planned.run.id) is first
        assert tx.jobs.begin(first[0], "q:default") == 1
        assert tx.jobs.of_run(planned.run.id)[0].status == "queued"
