"""What reruns write: copies by reference, what is begun again, and what runners say of their workspaces."""

import threading
import uuid
from dataclasses import replace

import pytest

from rivet.domain.artifact import Contents
from rivet.domain.blob import Manifest
from rivet.domain.errors import Conflict
from rivet.domain.ids import JobId, RunId, StageId, StageKey
from rivet.domain.job import Origin
from rivet.domain.record import Record, RecordType
from rivet.domain.runner import Keeping
from rivet.domain.states import JobStatus, Reason, StageStatus
from rivet.engine.begin_again import begin_again
from rivet.engine.begin_job import begin_job
from rivet.engine.claim_job import claim_job
from rivet.engine.ingest_records import ingest_records
from rivet.engine.ports import Token
from rivet.engine.settle_job import settle_job
from rivet.keyring import Keyring

TICKETS = Keyring("k" * 32).tickets()
AT = "2026-01-02T03:04:05.600000Z"
CONTENTS = Contents("tar", "kept.tar", "", 1, Manifest(0, "e3" * 32, ()))


def test_outputs_artifacts_kept_files_and_snapshots_are_copied_over_the_same_blob(store, a_run):
    origin, again = a_run("a", "b"), a_run("a", "b")
    with store.begin() as tx:
        blob = tx.blobs.add(origin.run.project_id, CONTENTS.blob)
        for key in (StageKey("a"), StageKey("b")):
            tx.stages.set_output(origin.run.id, key, f"by-{key}", {"x": 1})
            tx.artifacts.put(origin.run.id, f"of-{key}", key, 1, CONTENTS, blob)
            tx.keeps.put(origin.run.id, key, CONTENTS, {"x": "1"}, blob)
        tx.snapshots.put(origin.job, CONTENTS, blob)
        tx.stages.copy_outputs(origin.run.id, again.run.id, [StageKey("a")])
        tx.artifacts.copy(origin.run.id, again.run.id, [StageKey("a")])
        tx.keeps.copy(origin.run.id, again.run.id, [StageKey("a")])
        tx.snapshots.copy(origin.job, again.job)
        assert tx.stages.outputs(again.run.id) == {"by-a": {"x": 1}}
        assert tx.artifacts.get(again.run.id, "of-a").contents == CONTENTS
        assert tx.artifacts.get(again.run.id, "of-b") is None
        assert tx.keeps.of_run(again.run.id) == {"a": CONTENTS}
        assert tx.keeps.paths(again.run.id, [StageKey("a")]) == {"a": {"x": "1"}}
        assert tx.snapshots.get(again.job) == CONTENTS
        assert tx.snapshots.get(replace(again.job, epoch=3)) is None


def test_a_snapshot_of_another_epoch_is_not_copied(store, a_run):
    origin, again = a_run("a"), a_run("a")
    with store.begin() as tx:
        blob = tx.blobs.add(origin.run.project_id, CONTENTS.blob)
        tx.snapshots.put(origin.job, CONTENTS, blob)
        tx.snapshots.copy(replace(origin.job, epoch=2), again.job)
        assert tx.snapshots.get(again.job) is None


def test_rerun_of_origin_and_from_run_are_read_as_they_were_written(store, a_run):
    of = a_run("a").run.id
    planned = a_run("b")
    origin = Origin(JobId(uuid.uuid4()), planned.job.epoch, "runner", StageKey("a"), is_empty=True)
    run = replace(planned.run, id=RunId(uuid.uuid4()), number=10**6, rerun_of=of)
    job = replace(planned.job, id=JobId(uuid.uuid4()), run_id=run.id, origin=origin)
    stage = replace(
        planned.stages[0], id=StageId(uuid.uuid4()), run_id=run.id, job_id=job.id, from_run=of,
        status=StageStatus.PASSED, reason=Reason.FROM_RUN,
    )
    with store.begin() as tx:
        tx.runs.add(run)
        tx.jobs.add(job)
        tx.stages.add([stage])
    with store.begin() as tx:
        assert tx.runs.get(run.id).rerun_of == of
        assert tx.jobs.get(job.id).origin == origin
        read = tx.stages.of_run(run.id)[0]
        assert (read.from_run, read.status, read.reason) == (of, "passed", "from_run")


def test_what_has_ended_is_begun_again_once_and_as_if_it_were_yet_to_come(store, a_run):
    planned = a_run("a")
    job, stage = planned.job, planned.stages[0]
    with store.begin() as tx:
        tx.stages.ask_cancel(stage, "alice")
        tx.stages.move(stage, StageStatus.CANCELLED, reason=Reason.CANCELLED_BY)
        tx.jobs.ask_cancel(job)
        tx.jobs.move(job, JobStatus.CANCELLED, reason=Reason.CANCELLED_BY)
        tx.stages.set_output(planned.run.id, stage.key, "x", 1)
    origin = Origin(job.id, job.epoch, "runner", stage.key)
    with store.begin() as tx:
        ended, ended_stage = tx.jobs.get(job.id), tx.stages.of_job(job.id)[0]
        assert tx.jobs.begin_again(ended, origin)
        assert tx.stages.begin_again(ended_stage)
        assert not tx.jobs.begin_again(ended, origin)
        assert not tx.stages.begin_again(ended_stage)
        begun, begun_stage = tx.jobs.get(job.id), tx.stages.of_job(job.id)[0]
        assert (begun.status, begun.reason, begun.is_cancelled, begun.ended_at) == ("pending", None, False, None)
        assert begun.origin == origin
        assert (begun_stage.status, begun_stage.reason, begun_stage.cancelled_by) == ("pending", None, None)
        assert tx.stages.outputs(planned.run.id) == {}


def test_what_runners_said_of_workspaces_is_found_among_a_run_s_records(store, a_run):
    planned = a_run("a")
    said = [
        (RecordType.ATTEMPT_STARTED, "a", {}),
        (RecordType.ATTEMPT_STARTED, "a", {"workspace": "kept"}),
        (RecordType.JOB_DONE, None, {"workspace": "empty"}),
    ]
    with store.begin() as tx:
        records = [
            Record(planned.job.id, 1, seq, AT, kind, stage, stage and 1, data)
            for seq, (kind, stage, data) in enumerate(said, 1)
        ]
        tx.records.append(planned.run.id, records)
    with store.begin() as tx:
        found = tx.records.workspaces(planned.run.id)
    assert [(one.job, one.epoch, one.stage, one.how) for one in found] == [
        (planned.job.id, 1, "a", "kept"), (planned.job.id, 1, None, "empty"),
    ]  # fmt: skip


def test_a_runner_says_since_when_it_has_all_workspaces_and_an_older_one_does_not(store, a_runner):
    runner = a_runner()
    with store.begin() as tx:
        tx.runners.beat(runner.session, 2, 0, (), Keeping(60.0, 3600.0))
        now, told = tx.now(), tx.runners.get(runner.name)
        assert ((now - told.kept_since).total_seconds(), told.kept_s) == (60.0, 3600.0)
        tx.runners.beat(runner.session, 2, 0, ())
        assert tx.runners.get(runner.name).kept_since == told.kept_since


@pytest.fixture
def two_jobs(store, a_run, a_runner):
    """A run that goes on: its first job has failed, and all that its second did is known but for its end."""

    def make():
        planned = a_run("a")
        job = replace(planned.job, id=JobId(uuid.uuid4()), ordinal=2)
        stage = replace(
            planned.stages[0], id=StageId(uuid.uuid4()), job_id=job.id, key=StageKey("b"), ordinal=2
        )
        runner = a_runner()
        token = Token(runner.token_id, "runner", "r", ("default",), runner.seen_at)
        with store.begin() as tx:
            tx.jobs.add(job)
            tx.stages.add([stage])
            begin_job(planned.job, tx)
            begin_job(job, tx)
        for each, key, status in ((planned.job, "a", "failed"), (job, "b", "passed")):
            claim_job(each.id, runner.session, 1, 1, token, store=store, tickets=TICKETS)
            said = [
                Record(each.id, 1, 1, AT, RecordType.ATTEMPT_STARTED, key, 1, {}),
                Record(each.id, 1, 2, AT, RecordType.ATTEMPT_ENDED, key, 1, {"status": status}),
                Record(each.id, 1, 3, AT, RecordType.JOB_DONE),
            ]
            ingest_records(runner.name, said, store=store)
        settle_job(planned.job.id, 1, store=store)
        return planned.run.id, planned.job.id, job.id

    return make


def test_a_stage_is_begun_again_or_its_run_ends_and_never_both(store, two_jobs):
    for _ in range(12):
        run, failed, last = two_jobs()
        refusals = []
        together = threading.Barrier(2)

        def again(run=run, refusals=refusals, together=together):
            together.wait()
            try:
                begin_again(run, "a", "bob", store=store)
            except Conflict as refused:
                refusals.append(refused.message)

        asking = threading.Thread(target=again)
        asking.start()
        together.wait()
        settle_job(last, 1, store=store)
        asking.join(30)
        with store.begin() as tx:
            ended, job = tx.runs.get(run), tx.jobs.get(failed)
        if refusals:
            assert (ended.status, job.status) == ("failed", "failed")
            assert "has ended, failed" in refusals[0]
        else:
            assert (ended.status, job.status, job.epoch) == ("running", "queued", 2)
