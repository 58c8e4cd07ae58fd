"""Expand a matrix whose rows a function gives, when its stage is reached: one job and stage a row."""

from dataclasses import dataclass, replace

from rivet.domain.ids import JobId, RunId, StageId, StageKey
from rivet.domain.job import Job
from rivet.domain.matrix_rules import BadMatrix, row_name, rows_of
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run
from rivet.domain.stage import Attempt, Stage
from rivet.domain.states import FINISHED_JOB, AttemptStatus, JobStatus, StageStatus
from rivet.engine.advance_run import advance_run
from rivet.engine.ports import Asked, CannotEvaluate, Evaluator, Ids, Store, Tx


@dataclass(frozen=True, slots=True)
class _Reached:
    job: JobId
    stage: StageKey
    asked: Asked


def expand_matrices(run_id: RunId, *, store: Store, evaluator: Evaluator, ids: Ids) -> int:
    """How many of the run's matrices were expanded, or failed to be. Safe at any time.

    The functions are called outside of any transaction, with what was recorded; what they give is recorded
    as the stages that there are from then on.
    """
    with store.begin() as tx:
        reached = _reached(run_id, tx)
    done = 0
    for one in reached:
        try:
            rows: object = evaluator.ask(one.asked)
        except CannotEvaluate as problem:
            rows = problem
        done += _expand(run_id, one, rows, store, ids)
    return done


def _reached(run_id: RunId, tx: Tx) -> list[_Reached]:
    run = tx.runs.get(run_id)
    version = tx.pipelines.version(run.version_id) if run is not None else None
    if run is None or version is None or run.is_finished:
        return []
    jobs = {job.id: job for job in tx.jobs.of_run(run_id)}
    outputs, lists = dict(tx.stages.outputs(run_id)), tx.stages.output_lists(run_id)
    found = []
    for stage in tx.stages.of_run(run_id):
        job = jobs[stage.job_id]
        if stage.spec.is_open and stage.status is StageStatus.PENDING and _is_ready(job, jobs):
            path = (*stage.spec.path, "matrix")
            env = {**run.plan.env, **stage.env}
            asked = Asked(version.lua, path, run.inputs, run.facts, outputs, env, lists)
            found.append(_Reached(job.id, stage.key, asked))
    return found


def _is_ready(job: Job, jobs: dict[JobId, Job]) -> bool:
    before = [jobs[other] for other in job.waits_for]
    return job.status is JobStatus.PENDING and all(other.status is JobStatus.PASSED for other in before)


def _expand(run_id: RunId, reached: _Reached, given: object, store: Store, ids: Ids) -> bool:
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        run = tx.runs.lock(run_id)
        job = next((job for job in jobs if job.id == reached.job), None)
        stage = next((stage for stage in tx.stages.of_run(run_id) if stage.key == reached.stage), None)
        if run is None or job is None or job.status in FINISHED_JOB:
            return False
        if stage is None or not stage.spec.is_open:
            return False
        try:
            if isinstance(given, CannotEvaluate):
                raise BadMatrix(f"a function that gives rows, and it failed: {given}")
            rows = rows_of(given, stage.spec.exclude)
        except BadMatrix as bad:
            _fail(run, job, stage, f"matrix: expected {bad}", tx)
        else:
            copies = [_copy(stage, number, row) for number, row in enumerate(rows, 1)]
            tx.stages.make_room(run_id, stage.ordinal, len(copies) - 1)
            tx.stages.become(stage, copies[0])
            made = [replace(job, id=JobId(ids.uuid()), ordinal=len(jobs) + n) for n in range(1, len(copies))]
            for each in made:
                tx.jobs.add(each)
            tx.jobs.add_waits(run_id, job.id, [each.id for each in made])
            tx.stages.add(
                replace(copy, id=StageId(ids.uuid()), job_id=each.id, ordinal=stage.ordinal + n)
                for n, (copy, each) in enumerate(zip(copies[1:], made, strict=True), 1)
            )
            told = {"job": str(job.id), "stage": stage.key, "rows": rows}
            tx.records.append(run_id, [(ControlEvent.MATRIX_EXPANDED, told)])
        advance_run(run_id, tx)
        return True


def _copy(stage: Stage, number: int, row: dict[str, object]) -> Stage:
    return replace(
        stage,
        key=StageKey(f"{stage.key}.{number}"),
        name=f"{stage.name} [{row_name(row)}]",
        spec=replace(stage.spec, row=row, is_open=False),
    )


def _fail(run: Run, job: Job, stage: Stage, message: str, tx: Tx) -> None:
    """The stage fails without having run: an attempt of control's own bears the error."""
    started = Attempt(
        stage.id, 1, job.id, job.epoch, AttemptStatus.RUNNING, None, runner="control", started_at=tx.now()
    )
    tx.stages.start_attempt(started)
    tx.stages.move(stage, StageStatus.RUNNING)
    error = {"message": message, "file": None, "line": None}
    tx.stages.end_attempt(
        stage.id, 1, job.epoch, AttemptStatus.FAILED, reason=None, exit_code=None, error=error
    )
    tx.stages.move(replace(stage, status=StageStatus.RUNNING), StageStatus.FAILED)
    if tx.jobs.move(job, JobStatus.FAILED):
        told = {"job": str(job.id), "status": JobStatus.FAILED, "reason": None, "message": message}
        tx.records.append(run.id, [(ControlEvent.JOB_ENDED, told)])
