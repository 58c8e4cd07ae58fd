"""Take a runner's journal records into the database: in order, once, and only from the job's holder."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rivet.domain.annotation import Annotation
from rivet.domain.errors import IllegalMove
from rivet.domain.ids import Epoch, JobId
from rivet.domain.job import Job
from rivet.domain.record import Record, RecordType
from rivet.domain.stage import Stage
from rivet.domain.states import AttemptStatus, Reason, StageStatus
from rivet.engine.begin_attempt import begin_attempt
from rivet.engine.keep_report import keep_coverage, keep_tests
from rivet.engine.ports import Store, Tx
from rivet.engine.run_ports import Ended
from rivet.engine.settle_job import settle_locked
from rivet.engine.stage_after import stage_after

JobEpoch = tuple[JobId, Epoch]


@dataclass(slots=True)
class Ingested:
    """`expected` is the next seq of each journal seen; `done` are those whose last record is in, and
    `settled` those of them whose job was settled with it.
    """

    expected: dict[JobEpoch, int] = field(default_factory=dict)
    done: list[JobEpoch] = field(default_factory=list)
    settled: list[JobEpoch] = field(default_factory=list)
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is kept of one journal."""

    job: Job
    epoch: Epoch
    records: Sequence[Record]
    late: bool


def ingest_records(
    runner: str, records: Sequence[Record], *, store: Store, settle: bool = False
) -> Ingested:
    """Write a batch of one runner's stream, in one transaction.

    What was ingested before is passed over; what comes after a gap is left for the spooler to send again.
    From an older epoch only log lines are kept, marked late. With `settle` a job whose last record is among
    them is settled in the same transaction.
    """
    result = Ingested()
    grouped: dict[JobEpoch, list[Record]] = {}
    for record in records:
        grouped.setdefault((record.job, record.epoch), []).append(record)
    ending = {record.job for record in records if settle and record.type is RecordType.JOB_DONE}
    with store.begin() as tx:
        jobs = tx.jobs.lock_all(sorted({job_id for job_id, _ in grouped}), sorted(ending))
        taken: list[_Taken] = []
        for key, batch in grouped.items():
            job = jobs.get(key[0])
            if job is None:
                _let_go(key, batch, result)
            elif job.is_held_in(key[1]) and job.runner == runner:
                applied = _in_order(job, batch, result, tx, whole=job.id in ending)
                taken.append(_Taken(job, key[1], applied, late=False))
            elif key[1] <= job.epoch:
                taken.append(_Taken(job, key[1], _late(batch, key, result), late=True))
            else:
                _let_go(key, batch, result)
        for one in sorted(taken, key=lambda each: each.job.run_id):
            if one.records:
                tx.records.append(one.job.run_id, one.records, late=one.late)
        for one in sorted(taken, key=lambda each: each.job.run_id):
            key = (one.job.id, one.epoch)
            if settle and key in result.done and settle_locked(one.job, one.epoch, tx):
                result.settled.append(key)
    return result


def _let_go(key: JobEpoch, batch: Sequence[Record], result: Ingested) -> None:
    """Nothing of it is wanted; say it was taken, so that nobody sends it for ever."""
    result.expected[key] = batch[-1].seq + 1
    result.dropped += len(batch)


def _late(batch: Sequence[Record], key: JobEpoch, result: Ingested) -> list[Record]:
    kept = [record for record in batch if record.type is RecordType.LOG]
    result.expected[key] = batch[-1].seq + 1
    result.dropped += len(batch) - len(kept)
    return kept


def _in_order(
    job: Job, batch: Sequence[Record], result: Ingested, tx: Tx, *, whole: bool
) -> list[Record]:
    """Apply what comes next in the job's journal; the records that were applied.

    `whole`: all of the run will be looked at, so that the stages of all of it are read at once.
    """
    applied: list[Record] = []
    expected = job.ingested_seq + 1
    for record in batch:
        if record.seq != expected:
            continue
        stage = _stage_of(record, job, tx, whole=whole)
        try:
            _apply(record, job, stage, tx)
        except (KeyError, ValueError, TypeError, IllegalMove):
            result.dropped += 1
        else:
            applied.append(record)
        expected += 1
    if expected > job.ingested_seq + 1:
        last = next((record.seq for record in applied if record.type is RecordType.JOB_DONE), None)
        tx.jobs.advance(job.id, job.epoch, job.ingested_seq, expected - 1, last_seq=last)
    key = (job.id, job.epoch)
    result.expected[key] = expected
    if any(record.type is RecordType.JOB_DONE for record in applied):
        result.done.append(key)
    return applied


def _stage_of(record: Record, job: Job, tx: Tx, *, whole: bool) -> Stage | None:
    """As the records before have left it."""
    if record.stage is None:
        return None
    known = tx.stages.of_run(job.run_id) if whole else tx.stages.of_job(job.id)
    return next((one for one in known if one.job_id == job.id and one.key == record.stage), None)


def _apply(record: Record, job: Job, stage: Stage | None, tx: Tx) -> None:
    data = record.data
    match record.type:
        case RecordType.LOG if stage is not None:
            tx.stages.add_lines(stage.id, _number(record), int(data["count"]))
        case RecordType.OUTPUT if stage is not None:
            tx.stages.set_output(job.run_id, stage.key, str(data["name"]), data["value"])
        case RecordType.STAGE_SKIPPED if stage is not None:
            reason = Reason(data["reason"])
            cancelled = reason is Reason.CANCELLED_BY
            tx.stages.move(
                stage, StageStatus.CANCELLED if cancelled else StageStatus.SKIPPED, reason=reason
            )
        case RecordType.ATTEMPT_STARTED if stage is not None:
            begin_attempt(job, stage, _number(record), tx)
        case RecordType.ATTEMPT_ENDED if stage is not None:
            _end(record, job, stage, tx)
        case RecordType.TESTS if stage is not None:
            keep_tests(job.run_id, stage.key, _number(record), data, record.body, tx)
        case RecordType.COVERAGE if stage is not None:
            keep_coverage(job.run_id, stage.key, _number(record), data, tx)
        case RecordType.ANNOTATION if stage is not None:
            Annotation.read(data)
        case RecordType.JOB_DONE | RecordType.JOB_CLAIMED | RecordType.SUMMARY | RecordType.UNREADABLE:
            pass
        case _:
            raise ValueError("the record names no stage of this job")


def _number(record: Record) -> int:
    if record.attempt is None:
        raise ValueError("a record of an attempt has no number of it")
    return record.attempt


def _end(record: Record, job: Job, stage: Stage, tx: Tx) -> None:
    data = record.data
    status = AttemptStatus(data["status"])
    reason = None if data.get("reason") is None else Reason(data["reason"])
    exit_code = data.get("exit_code")
    number = _number(record)
    ended = Ended(
        number, job.epoch, status, reason, None if exit_code is None else int(exit_code), data.get("error")
    )
    after = stage_after(status, job, stage, number, reason, exit_code)
    if after is StageStatus.PASSED and number > 1:
        reason = Reason.PASSED_ON_RETRY
    if after is StageStatus.PENDING:
        delayed = status is not AttemptStatus.LOST and stage.spec.retry.gives_slot_back(number + 1)
        reason = Reason.RETRY_DELAY if delayed else None
    tx.stages.end(stage, after, ended, reason=reason)
