"""Records: one order a run, nothing twice, and nothing that a stranger sends can stop it."""

import threading
import uuid

import pytest
from sqlalchemy import text

from rivet.domain.ids import JobId
from rivet.domain.record import ControlEvent, Record, RecordType
from rivet.domain.stage import Attempt
from rivet.domain.states import AttemptStatus, StageStatus

AT = "2026-01-02T03:04:05.600000Z"


def a_log(job, seq, epoch=1, **data):
    header = {"first": seq, "count": 1, "marks": [[0, AT, "stdout", None]]} | data
    return Record(job, epoch, seq, AT, RecordType.LOG, "build", 1, header, b"packed")


def test_positions_count_per_run_from_one(told, a_run):
    planned = a_run()
    told.commits.clear()
    with told.store.begin() as tx:
        tx.records.append(planned.run.id, [(ControlEvent.RUN_CREATED, {})])
        tx.records.append(planned.run.id, [a_log(planned.job.id, 1), a_log(planned.job.id, 2)])
    with told.store.begin() as tx:
        tx.records.append(planned.run.id, [a_log(planned.job.id, 3, epoch=0)], late=True)
        tx.records.append(planned.run.id, [(ControlEvent.RUN_ENDED, {})])
    entries = [entry for committed in told.commits for entry in committed.entries]
    assert [(entry.pos, entry.type) for entry in entries] == [
        (1, "run_created"), (2, "log"), (3, "log"), (4, "log"), (5, "run_ended"),
    ]
    with told.store.begin() as tx:
        assert tx.runs.get(planned.run.id).lines == 2


def test_a_record_that_is_there_already_is_passed_over(told, a_run):
    planned = a_run()
    told.commits.clear()
    for _ in range(2):
        with told.store.begin() as tx:
            tx.records.append(planned.run.id, [a_log(planned.job.id, 1)])
    assert [len(committed.entries) for committed in told.commits] == [1]
    entry = told.commits[0].entries[0]
    assert (entry.type, entry.seq, entry.at, entry.body) == ("log", 1, AT, b"packed")


def test_two_writers_of_one_run_leave_neither_gap_nor_double(store, a_run):
    planned = a_run()

    def write(epoch):
        for seq in range(1, 21):
            with store.begin() as tx:
                tx.records.append(planned.run.id, [a_log(planned.job.id, seq, epoch)])

    writers = [threading.Thread(target=write, args=(epoch,)) for epoch in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    with store.engine.connect() as connection:
        found = connection.execute(
            text("SELECT pos FROM record WHERE run_id = :run ORDER BY pos"), {"run": planned.run.id}
        ).scalars()
        assert list(found) == list(range(1, 41))


@pytest.mark.parametrize(
    "data",
    [
        {"name": "a\0b", "deep": {"k\0": ["\ud800"]}},
        {"value": float("inf")},
        {"value": 10**400},
        {"first": -1, "count": "many", "marks": None},
        {"first": 2**80, "count": 2**80},
    ],
)
def test_what_postgresql_cannot_hold_is_stored_so_that_it_can(store, a_run, data):
    planned = a_run()
    with store.begin() as tx:
        tx.records.append(planned.run.id, [a_log(planned.job.id, 1, **data)])


def test_a_record_with_no_time_and_an_endless_stage_is_stored(told, a_run):
    planned = a_run()
    told.commits.clear()
    strange = Record(
        planned.job.id, 1, 1, "yesterday", RecordType.SUMMARY, "\0" + uuid.uuid4().hex * 120, 2**52, {}
    )
    with told.store.begin() as tx:
        tx.records.append(planned.run.id, [strange])
    entry = told.commits[0].entries[0]
    assert entry.at.endswith("Z")
    assert len(entry.stage) == 200


def test_a_run_that_is_not_there_takes_no_record(store, a_run):
    with pytest.raises(LookupError), store.begin() as tx:
        tx.records.append(uuid.uuid4(), [a_log(JobId(uuid.uuid4()), 1)])


def an_attempt(planned, store, tx, number=1):
    return Attempt(
        planned.stages[0].id, number, planned.job.id, tx.jobs.get(planned.job.id).epoch,
        AttemptStatus.RUNNING, None, "r", tx.now(),
    )


def test_a_job_has_one_attempt_at_a_time(store, a_run):
    planned = a_run()
    with store.begin() as tx:
        tx.jobs.begin(planned.job, "q:default")
        assert tx.stages.start_attempt(an_attempt(planned, store, tx))
        assert not tx.stages.start_attempt(an_attempt(planned, store, tx))
        assert not tx.stages.start_attempt(an_attempt(planned, store, tx, number=2))
        assert tx.stages.move(planned.stages[0], StageStatus.RUNNING)
        tx.stages.add_lines(planned.stages[0].id, 1, 12)
    with store.begin() as tx:
        live = tx.stages.live_attempts(planned.job.id)
        assert [(each.number, each.lines) for each in live] == [(1, 12)]
        assert tx.stages.of_job(planned.job.id)[0].attempts == 1
        error = {"message": "exit 1", "file": "rivet.lua", "line": 3}
        end = {"reason": None, "exit_code": 1, "error": error}
        stage = planned.stages[0].id
        assert not tx.stages.end_attempt(stage, 1, 9, AttemptStatus.FAILED, **end)
        assert tx.stages.end_attempt(stage, 1, 1, AttemptStatus.FAILED, **end)
        assert not tx.stages.end_attempt(stage, 1, 1, AttemptStatus.PASSED, **end)
        assert tx.stages.live_attempts(planned.job.id) == []


def test_a_stage_that_is_to_begin_again_has_set_no_outputs(store, a_run):
    planned = a_run("build", "test")
    with store.begin() as tx:
        tx.stages.set_output(planned.run.id, "build", "image", "kept")
        tx.stages.set_output(planned.run.id, "test", "image", "of the lost attempt")
        assert tx.stages.move(planned.stages[1], StageStatus.RUNNING)
        running = next(stage for stage in tx.stages.of_job(planned.job.id) if stage.key == "test")
        assert tx.stages.move(running, StageStatus.PENDING)
        assert tx.stages.outputs(planned.run.id) == {"image": "kept"}


def test_a_later_stage_s_output_stands_for_an_earlier_one_s(store, a_run):
    planned = a_run("build", "test")
    with store.begin() as tx:
        tx.stages.set_output(planned.run.id, "test", "image", ["b", None])
        tx.stages.set_output(planned.run.id, "build", "image", "a")
        tx.stages.set_output(planned.run.id, "build", "empty", None)
        assert tx.stages.outputs(planned.run.id) == {"image": ["b", None], "empty": None}
        for name, value in (("", 1), ("n" * 256, 1), ("big", "x" * 200_000)):
            with pytest.raises(ValueError, match="over its bound"):
                tx.stages.set_output(planned.run.id, "build", name, value)
