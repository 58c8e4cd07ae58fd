"""What stages say of a run besides its log, in a real database: annotations, summaries, lists of outputs."""

import uuid
from dataclasses import replace

import pytest
from sqlalchemy import text

from rivet.api.event import event_of
from rivet.domain.ids import StageId, StageKey
from rivet.domain.record import Record, RecordType
from rivet.engine.begin_job import begin_job
from rivet.engine.ingest_records import ingest_records
from rivet.store.read_records import RecordReads
from rivet.store.read_runs import RunReads
from rivet.store.read_told import MOST_SUMMARY_CHARACTERS

AT = "2026-01-02T03:04:05.600000Z"
REMARK = {"level": "warn", "message": "odd", "file": "a.py", "line": 3}


@pytest.fixture
def said(store, a_run, a_runner):
    """Takes what stages of a run say, (type, stage, data) each, in through ingest; the run, and what was dropped."""

    def make(*entries):
        planned = a_run("build", "test")
        with store.begin() as tx:
            begin_job(planned.job, tx)
            job = tx.jobs.lock(planned.job.id)
            runner = a_runner()
            assert tx.jobs.claim(job, runner.name, runner.session)
        begun = [(RecordType.ATTEMPT_STARTED, stage, {}) for stage in dict.fromkeys(stage for _, stage, _ in entries)]
        records = [
            Record(planned.job.id, 1, seq, AT, type, stage, 1, data)
            for seq, (type, stage, data) in enumerate([*begun, *entries], 1)
        ]
        return planned.run.id, ingest_records(runner.name, records, store=store).dropped

    return make


def shown(store, run):
    return RunReads(store.engine, 4.0).one(run, "http://x")


def test_annotations_are_shown_with_the_run_and_are_events(said, store):
    run, dropped = said(
        (RecordType.ANNOTATION, "build", REMARK),
        (RecordType.ANNOTATION, "test", {**REMARK, "file": None, "line": None}),
    )
    assert dropped == 0
    assert shown(store, run)["annotations"] == [
        {"stage": "build", "attempt": 1, "from_run": None, **REMARK},
        {"stage": "test", "attempt": 1, "from_run": None, **REMARK, "file": None, "line": None},
    ]
    events = [event_of(entry) for entry in RecordReads(store.engine).after(run, 0, 100)]
    assert ("annotation", {"stage": "build", "attempt": 1, "at": AT, **REMARK}) in events


def test_no_more_than_a_hundred_annotations_are_shown(said, store):
    run, _ = said(*[(RecordType.ANNOTATION, "build", {**REMARK, "line": line}) for line in range(1, 131)])
    assert [one["line"] for one in shown(store, run)["annotations"]] == list(range(1, 101))


@pytest.mark.parametrize(
    "changed",
    [{"level": "loud"}, {"message": None}, {"message": "x" * 9000}, {"line": 0}, {"line": True}, {"file": 7}],
)
def test_what_is_no_annotation_is_dropped(said, store, changed):
    run, dropped = said((RecordType.ANNOTATION, "build", {**REMARK, **changed}))
    assert (dropped, shown(store, run)["annotations"]) == (1, [])


def test_of_each_stage_the_last_summary_is_shown_in_the_order_of_stages(said, store):
    run, _ = said(
        (RecordType.SUMMARY, "test", {"markdown": "# test"}),
        (RecordType.SUMMARY, "build", {"markdown": "one"}),
        (RecordType.SUMMARY, "build", {"markdown": "two"}),
    )
    assert shown(store, run)["summary"] == [
        {"stage": "build", "attempt": 1, "from_run": None, "markdown": "two"},
        {"stage": "test", "attempt": 1, "from_run": None, "markdown": "# test"},
    ]


def test_a_rerun_shows_what_the_stages_that_stand_have_said_in_their_run(said, store):
    first, _ = said(
        (RecordType.ANNOTATION, "build", REMARK),
        (RecordType.ANNOTATION, "test", {**REMARK, "message": "not asked for again"}),
        (RecordType.SUMMARY, "build", {"markdown": "# built"}),
        (RecordType.SUMMARY, "test", {"markdown": "# tested in vain"}),
    )
    again, _ = said(
        (RecordType.ANNOTATION, "test", {**REMARK, "message": "new"}),
        (RecordType.SUMMARY, "test", {"markdown": "# tested"}),
    )
    with store.engine.begin() as connection:
        stands = text("UPDATE stage SET from_run = :first WHERE run_id = :again AND key = 'build'")
        connection.execute(stands, {"first": first, "again": again})
    found = shown(store, again)
    told = [(one["stage"], one["from_run"], one["message"]) for one in found["annotations"]]
    assert sorted(told) == [("build", str(first), "odd"), ("test", None, "new")]
    assert [(one["stage"], one["from_run"], one["markdown"]) for one in found["summary"]] == [
        ("build", str(first), "# built"), ("test", None, "# tested"),
    ]
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM record WHERE run_id = :run"), {"run": first})
        connection.execute(text("DELETE FROM run WHERE id = :run"), {"run": first})
    found = shown(store, again)
    assert [one["stage"] for one in found["annotations"] + found["summary"]] == ["test", "test"]


def test_summaries_that_do_not_fit_are_left_out(said, store):
    run, _ = said(
        (RecordType.SUMMARY, "build", {"markdown": "short"}),
        (RecordType.SUMMARY, "test", {"markdown": "x" * MOST_SUMMARY_CHARACTERS}),
    )
    assert [one["stage"] for one in shown(store, run)["summary"]] == ["build"]


def test_lists_of_outputs_are_those_of_copies_in_their_order(store, a_run):
    planned = a_run("alone")
    first = planned.stages[0]
    copies = [
        replace(
            first, id=StageId(uuid.uuid4()), key=StageKey(f"t.{n}"), ordinal=first.ordinal + n,
            spec=replace(first.spec, row={"n": n}),
        )
        for n in (1, 2, 10)
    ]  # fmt: skip
    with store.begin() as tx:
        tx.stages.add(copies)
        for stage in (first, *reversed(copies)):
            tx.stages.set_output(planned.run.id, stage.key, "name", str(stage.key))
        tx.stages.set_output(planned.run.id, copies[1].key, "other", None)
        assert tx.stages.output_lists(planned.run.id) == {"name": ["t.1", "t.2", "t.10"], "other": [None]}
