"""A short run's way costs PostgreSQL and us few statements: each one more is a tenth of a verb."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine, event

from rivet.domain.ids import NO_EPOCH, Epoch, StageKey
from rivet.domain.order import Grants
from rivet.domain.pipeline import Checked, Definition, StageDefinition
from rivet.domain.record import Record, RecordType
from rivet.domain.states import JobStatus, OnLost
from rivet.engine.claim_job import claim_job
from rivet.engine.ingest_records import ingest_records
from rivet.engine.ports import Token
from rivet.engine.start_run import StartRequest, start_run
from rivet.keyring import Keyring
from rivet.wiring.ids import Uuid7

AT = "2026-01-02T03:04:05.600000Z"
TICKETS = Keyring("k" * 32).tickets()
DEFINITION = Definition(
    name="Short", slug="short", description="", inputs=(), env={}, queue="default", grants=Grants(), limits={},
    isolation=None, timeout_s=3600, on_lost=OnLost.ERROR, stages=(StageDefinition(StageKey("one"), "one", ("stages", 1)),),
)


class Knowing:
    """Every source has that one definition."""

    def check(self, _source: str, _filename: str = "", **_: Any) -> Checked:
        return Checked({"name": "Short"}, DEFINITION, [], "digest")


@contextmanager
def heard(engine: Engine) -> Iterator[list[str]]:
    """What is sent meanwhile."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


def journal(job):
    log = {"first": 1, "count": 2, "marks": [[0, AT, "log", "info"]]}
    ended = {"status": "passed", "reason": None, "exit_code": None, "error": None, "lines": 2, "bytes": 9}
    said = (
        (RecordType.ATTEMPT_STARTED, "one", {}), (RecordType.LOG, "one", log),
        (RecordType.LOG, "one", log | {"first": 3}), (RecordType.ATTEMPT_ENDED, "one", ended),
        (RecordType.JOB_DONE, None, {"last_seq": 5}),
    )
    return [
        Record(job, Epoch(1), seq, AT, kind, stage, stage and 1, data, b"")
        for seq, (kind, stage, data) in enumerate(said, 1)
    ]


def job_of(run, store):
    with store.begin() as tx:
        [job] = tx.jobs.of_run(run)
    return job


@pytest.fixture
def start(store):
    request = StartRequest("default", "short", {}, "source", None, False, "alice", "cli")
    return lambda: start_run(request, store=store, evaluator=Knowing(), ids=Uuid7())


def test_a_short_run_is_started_claimed_and_ended_by_few_statements(store, start, a_runner):
    runner = a_runner()
    token = Token(runner.token_id, "runner", "r", ("default",), runner.seen_at)

    def claim(job) -> None:
        claim_job(job, runner.session, Epoch(1), 1, token, store=store, tickets=TICKETS)

    claim(job_of(start(), store).id)  # the pipeline is made, and its version known
    with heard(store.engine) as started:
        run = start()
    job = job_of(run, store)
    assert (job.status, job.epoch) == ("queued", 1)
    with heard(store.engine) as claimed:
        claim(job.id)
    with heard(store.engine) as ended:
        assert ingest_records(runner.name, journal(job.id), store=store, settle=True).settled != []
    assert len(started) <= 4, started
    assert len(claimed) <= 6, claimed
    assert len(ended) <= 9, ended
    with store.begin() as tx:
        assert tx.runs.get(run).status == "passed"
        assert tx.runs.get(run).lines == 4


def test_what_was_made_is_there_for_whoever_asks_in_its_transaction(store, start):
    before = start()
    with store.begin() as tx:
        run, [job], [stage] = tx.runs.get(before), tx.jobs.of_run(before), tx.stages.of_run(before)
        with heard(store.engine) as sent:
            made = replace(run, id=Uuid7().uuid(), number=tx.pipelines.take_run_number(run.pipeline_id))
            tx.runs.add(made)
            new = replace(job, id=Uuid7().uuid(), run_id=made.id, status=JobStatus.PENDING, epoch=NO_EPOCH, queued_at=None)
            tx.jobs.add(new)
            tx.stages.add([replace(stage, id=Uuid7().uuid(), run_id=made.id, job_id=new.id)])
            assert tx.jobs.of_run(made.id) == [new]
            assert len(sent) == 1
        assert tx.jobs.get(new.id) == new
        assert tx.jobs.begin(new, "q:default") == 1
        assert tx.runs.lock(made.id).number == made.number
        assert [each.job_id for each in tx.stages.of_run(made.id)] == [new.id]
