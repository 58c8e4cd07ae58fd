"""The engine's verbs on the real store: a job's whole way, once well and once lost."""

import uuid
from dataclasses import replace

import pytest
from sqlalchemy import text

from rivet.domain.errors import Fenced
from rivet.domain.record import Record, RecordType
from rivet.domain.states import OnLost
from rivet.engine.begin_job import begin_job
from rivet.engine.cancel_run import cancel_run
from rivet.engine.claim_job import claim_job
from rivet.engine.ingest_records import ingest_records
from rivet.engine.ports import Token
from rivet.engine.renew_lease import renew_lease
from rivet.engine.settle_job import settle_job
from rivet.engine.watch_leases import watch_leases
from rivet.keyring import Keyring
from rivet.store.read_records import RecordReads
from rivet.store.read_runs import RunReads

AT = "2026-01-02T03:04:05.600000Z"
TICKETS = Keyring("k" * 32).tickets()


@pytest.fixture
def claimed(store, a_run, a_runner):
    """A run of the stages `build` and `test` whose job a runner has claimed."""

    def make(on_lost=OnLost.ERROR):
        planned = a_run("build", "test")
        with store.begin() as tx:
            begin_job(planned.job, tx)
        if on_lost is OnLost.RESTART:
            with store.engine.begin() as connection:
                connection.execute(
                    text("UPDATE job SET on_lost = 'restart' WHERE id = :job"), {"job": planned.job.id}
                )
        runner = a_runner()
        token = Token(runner.token_id, "runner", "r", ("default",), runner.seen_at)
        order = claim_job(
            planned.job.id, runner.session, 1, 1, token, store=store, tickets=TICKETS
        )
        return replace_run(planned, store), runner, token, order

    return make


def replace_run(planned, store):
    with store.begin() as tx:
        return replace(planned, run=tx.runs.get(planned.run.id))


def stage_records(job, epoch, first_seq, key, status="passed"):
    log = {"first": 1, "count": 2, "marks": [[0, AT, "log", "info"]]}
    ended = {"status": status, "reason": None, "exit_code": None, "error": None, "lines": 2, "bytes": 9}
    kinds = (
        (RecordType.ATTEMPT_STARTED, {}), (RecordType.LOG, log), (RecordType.ATTEMPT_ENDED, ended),
    )
    return [
        Record(job, epoch, first_seq + place, AT, kind, key, 1, data, b"")
        for place, (kind, data) in enumerate(kinds)
    ]


def test_a_job_goes_its_whole_way(store, claimed):
    planned, runner, _, order = claimed()
    job = order.job
    assert planned.run.status == "running"
    done = Record(job, 1, 8, AT, RecordType.JOB_DONE, data={"last_seq": 8})
    claimed_record = Record(job, 1, 1, AT, RecordType.JOB_CLAIMED, data={"runner": runner.name})
    records = [
        claimed_record, *stage_records(job, 1, 2, "build"), *stage_records(job, 1, 5, "test"), done,
    ]
    first = ingest_records(runner.name, records[:5], store=store)
    assert first.expected == {(job, 1): 6}
    assert not settle_job(job, 1, store=store)
    again = ingest_records(runner.name, records, store=store)
    assert (again.expected, again.done, again.dropped) == ({(job, 1): 9}, [(job, 1)], 0)
    assert renew_lease(job, 1, runner.session, store=store).ingested_seq == 8
    assert settle_job(job, 1, store=store)
    assert not settle_job(job, 1, store=store)
    shown = RunReads(store.engine, 4.0).one(planned.run.id, "http://x")
    assert (shown["status"], shown["lines"], shown["isolation"]) == ("passed", 4, "namespaces")
    assert [(stage["status"], stage["attempts"][0]["lines"]) for stage in shown["stages"]] == [
        ("passed", 2), ("passed", 2),
    ]
    entries = RecordReads(store.engine).after(planned.run.id, 0, 100)
    assert [entry.pos for entry in entries] == list(range(1, len(entries) + 1))
    assert (entries[-1].type, entries[-1].data["lines"]) == ("run_ended", 4)
    assert renew_lease(job, 1, runner.session, store=store).state == "fenced"


def test_another_runner_s_records_change_nothing(store, claimed):
    planned, _, _, order = claimed()
    ingest_records("somebody-else", stage_records(order.job, 1, 1, "build"), store=store)
    with store.begin() as tx:
        assert tx.jobs.get(order.job).ingested_seq == 0
        assert tx.stages.of_run(planned.run.id)[0].status == "pending"


def make_late(store, order):
    with store.engine.begin() as connection:
        connection.execute(
            text("UPDATE lease SET renewed_at = now() - interval '1 min' WHERE job_id = :job"),
            {"job": order.job},
        )
        connection.execute(
            text("UPDATE runner SET seen_at = now() - interval '1 min' WHERE session = "
                 "(SELECT session FROM job WHERE id = :job)"),
            {"job": order.job},
        )


def let_an_api_beat(store):
    with store.begin() as tx:
        tx.parts.beat("api-test", 60)
    with store.engine.begin() as connection:
        connection.execute(
            text("UPDATE part SET unbroken_since = now() - interval '1 min' WHERE name = 'api-test'")
        )


def test_nobody_is_judged_unless_an_api_has_beaten(store, claimed):
    _, _, _, order = claimed()
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM part"))
    make_late(store, order)
    assert watch_leases(4.0, store=store, signs=Nobody()) == 0
    let_an_api_beat(store)
    assert watch_leases(4.0, store=store, signs=Nobody()) >= 1


class Nobody:
    """No runner says that it is cut off."""

    def cut_off(self, _runners):
        return frozenset()


def test_a_lost_job_in_which_nothing_had_begun_is_begun_again(store, claimed, a_runner):
    planned, runner, token, order = claimed()
    make_late(store, order)
    let_an_api_beat(store)
    watch_leases(4.0, store=store, signs=Nobody())
    with store.begin() as tx:
        job = tx.jobs.get(order.job)
        assert (job.status, job.epoch, job.runner) == ("queued", 2, None)
        assert job.id in [queued.job_id for queued in tx.outbox.unpublished("g", 1000)]
    with pytest.raises(Fenced):
        claim_job(order.job, runner.session, 1, 1, token, store=store, tickets=TICKETS)
    late = ingest_records(runner.name, stage_records(order.job, 1, 1, "build"), store=store)
    assert late.dropped == 2
    logs = [entry for entry in RecordReads(store.engine).after(planned.run.id, 0, 99) if entry.type == "log"]
    assert [entry.late for entry in logs] == [True]


@pytest.mark.parametrize(("on_lost", "status"), [(OnLost.ERROR, "errored"), (OnLost.RESTART, "queued")])
def test_a_lost_job_in_which_a_stage_ran_ends_as_on_lost_says(store, claimed, on_lost, status):
    planned, runner, _, order = claimed(on_lost)
    started = stage_records(order.job, 1, 1, "build")[:2]
    ingest_records(runner.name, started, store=store)
    make_late(store, order)
    let_an_api_beat(store)
    watch_leases(4.0, store=store, signs=Nobody())
    shown = RunReads(store.engine, 4.0).one(planned.run.id, "http://x")
    with store.begin() as tx:
        assert tx.jobs.get(order.job).status == status
    assert [attempt["status"] for attempt in shown["stages"][0]["attempts"]] == ["lost"]
    assert shown["status"] == ("errored" if status == "errored" else "running")
    if status == "queued":
        assert shown["waiting_since"] is not None


def test_a_running_run_is_cancelled_by_way_of_cancelling(told, claimed):
    planned, _, _, order = claimed()
    told.commits.clear()
    cancel_run(planned.run.id, "bob", store=told.store)
    assert told.commits[0].cancelled == [(order.job, order.epoch, None)]
    shown = RunReads(told.store.engine, 4.0).one(planned.run.id, "http://x")
    assert (shown["status"], shown["cancelled_by"]) == ("cancelling", "bob")


def test_a_poisoned_batch_does_not_stop_ingest(store, claimed):
    _, runner, _, order = claimed()
    job = order.job
    bad = [
        (RecordType.ATTEMPT_STARTED, 2**50, {}),
        (RecordType.OUTPUT, 1, {"name": "n" * 9000, "value": 1}),
        (RecordType.OUTPUT, 1, {"name": "a\0b", "value": "c\0\ud800"}),
        (RecordType.ATTEMPT_ENDED, 2**50, {"status": "failed", "exit_code": 2**70}),
        (RecordType.LOG, 1, {"first": 1, "count": 2**70, "marks": []}),
        (RecordType.LOG, 1, {"first": "x", "count": "y"}),
        (RecordType.SUMMARY, 1, {"markdown": "\0" * 1000}),
    ]
    records = [
        Record(job, 1, seq, "never", kind, "build", number, data)
        for seq, (kind, number, data) in enumerate(bad, 1)
    ]
    result = ingest_records(runner.name, records, store=store)
    assert result.expected == {(job, 1): len(bad) + 1}
    unknown = Record(job, 1, len(bad) + 1, AT, RecordType.LOG, uuid.uuid4().hex * 99, 1, {"count": 1})
    assert ingest_records(runner.name, [unknown], store=store).expected == {(job, 1): len(bad) + 2}
