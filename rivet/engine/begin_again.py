"""Begin a stage again within a run that goes on: its job is begun anew, with what was skipped behind it."""

from collections.abc import Sequence

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.ids import RunId
from rivet.domain.job import Job, Origin
from rivet.domain.record import ControlEvent
from rivet.domain.rerun import and_what_builds_on
from rivet.domain.run import Run
from rivet.domain.stage import Stage
from rivet.domain.states import FINISHED_JOB, JobStatus, Reason, RunStatus, StageStatus
from rivet.domain.transitions import JOB_AGAIN, STAGE_AGAIN
from rivet.domain.wording import did_you_mean
from rivet.engine.advance_run import advance_run
from rivet.engine.left_workspaces import LeftWorkspaces
from rivet.engine.place_job import place_job
from rivet.engine.ports import Store, Tx
from rivet.engine.where_kept import on_runner


def begin_again(run_id: RunId, wanted: str, actor: str, *, store: Store) -> None:
    """Begin a stage again that has failed, errored, timed out or was cancelled, in `actor`'s name.

    The stages before it in its job stand, and it finds the workspace that it found; those behind it, and what
    was skipped because of it, are to come again. Attempts count on. Raises NotFound, and Conflict where the
    run or `finally` has come too far, the stage has not ended so, or what it found is gone.
    """
    with store.begin() as tx:
        jobs = tx.jobs.lock_of_run(run_id)
        run = tx.runs.lock(run_id)
        if run is None:
            raise NotFound(f"there is no run {run_id}")
        name = f"{run.pipeline}#{run.number}"
        _refuse_over(run, jobs, name, wanted)
        stages = tx.stages.of_run(run_id)
        stage = next((stage for stage in stages if stage.key == wanted), None)
        if stage is None:
            known = [str(each.key) for each in stages]
            raise NotFound(f'{name} has no stage "{wanted[:100]}"{did_you_mean(wanted, known)}')
        job = next(job for job in jobs if job.id == stage.job_id)
        _refuse_stage(stage, job, stages, name)
        _again(job, stage, _origin(job, stage, stages, name, tx), tx)
        for other in _stopped_with(job, jobs, name):
            _again(other, tx.stages.of_job(other.id)[0], other.origin, tx)
        _let_come_again(job, jobs, tx)
        told = {"job": str(job.id), "stage": stage.key, "actor": actor}
        tx.records.append(run_id, [(ControlEvent.BEGUN_AGAIN, told)])
        begun = next(each for each in tx.jobs.of_run(run_id) if each.id == job.id)
        if place_job(begun, tx.jobs.of_run(run_id), tx) is None:
            raise Conflict(
                f'"{stage.key}" of {name} cannot be begun again: the runner is gone that has the workspace '
                "it starts from; rerun the run when it has ended"
            )
        advance_run(run_id, tx)


def _refuse_over(run: Run, jobs: Sequence[Job], name: str, wanted: str) -> None:
    way_out = f"rerun it when it has ended: rivet runs rerun {name} --stage {wanted[:100]}"
    if run.is_finished:
        raise Conflict(
            f"{name} has ended, {run.status}: nothing begins within it any more; run it again as a new run: "
            f"rivet runs rerun {name} --stage {wanted[:100]}"
        )
    if run.status is RunStatus.CANCELLING:
        raise Conflict(f"{name} is being cancelled: nothing begins within it any more; {way_out}")
    if any(job.is_last and job.status is not JobStatus.PENDING for job in jobs):
        raise Conflict(f"`finally` of {name} has begun: nothing else does any more; {way_out}")


def _refuse_stage(stage: Stage, job: Job, stages: Sequence[Stage], name: str) -> None:
    if stage.from_run is not None:
        raise Conflict(
            f'"{stage.key}" of {name} stands as it ended in another run; rerun this one when it has ended'
        )
    if not STAGE_AGAIN.allows(stage.status, StageStatus.PENDING) or stage.status is StageStatus.SKIPPED:
        raise Conflict(
            f'"{stage.key}" of {name} is {stage.status}; within a run that goes on a stage is begun again '
            "that failed, errored, timed out or was cancelled"
        )
    if job.status not in FINISHED_JOB:
        raise Conflict(f'the job of "{stage.key}" is {job.status} for a moment yet; ask again')
    for before in stages:
        ended_so = STAGE_AGAIN.allows(before.status, StageStatus.PENDING)
        by_rule = before.reason is Reason.SKIPPED_BY_RULE
        if before.job_id == job.id and before.ordinal < stage.ordinal and ended_so and not by_rule:
            raise Conflict(f'"{before.key}" before "{stage.key}" is {before.status}; begin with that one')


def _origin(job: Job, stage: Stage, stages: Sequence[Stage], name: str, tx: Tx) -> Origin | None:
    """The workspace as the stage found it; None where the job is begun with its first stage."""
    first = next(each for each in stages if each.job_id == job.id)
    if first.key == stage.key:
        return None
    left = LeftWorkspaces(tx)
    found = left.found_by(stage, job)
    gone = None if found.is_empty else on_runner(found, left, tx).gone
    if gone is not None:
        raise Conflict(
            f'"{stage.key}" of {name} cannot be begun again: the workspace as it found it is gone: {gone}; '
            "rerun the run when it has ended"
        )
    return found


def _again(job: Job, first: Stage, origin: Origin | None, tx: Tx) -> None:
    """The job, and its stages from `first` on that have not passed, are to come."""
    for stage in tx.stages.of_job(job.id):
        if stage.ordinal >= first.ordinal and STAGE_AGAIN.allows(stage.status, StageStatus.PENDING):
            tx.stages.begin_again(stage)
    tx.jobs.begin_again(job, origin)


def _stopped_with(job: Job, jobs: Sequence[Job], name: str) -> list[Job]:
    """Of a group that fails as one, the members that did not pass: while they stand, none may go on."""
    group = job.group
    if group is None or not group.fail_fast:
        return []
    others = [
        each for each in jobs
        if each.group is not None and each.group.key == group.key and each.id != job.id
        and each.status is not JobStatus.PASSED
    ]  # fmt: skip
    if any(each.status not in FINISHED_JOB for each in others):
        raise Conflict(f'other members of "{group.key}" of {name} are being stopped; ask again in a moment')
    return others


def _let_come_again(job: Job, jobs: Sequence[Job], tx: Tx) -> None:
    """What was skipped behind it: whether it comes is seen when what it waits for has ended."""
    behind = and_what_builds_on({job.id}, jobs) - {job.id}
    for each in jobs:
        skipped = each.status is JobStatus.SKIPPED and each.reason is Reason.EARLIER_FAILURE
        if each.id in behind and skipped and JOB_AGAIN.allows(each.status, JobStatus.PENDING):
            for stage in tx.stages.of_job(each.id):
                if stage.status is StageStatus.SKIPPED and stage.reason is Reason.EARLIER_FAILURE:
                    tx.stages.begin_again(stage)
            tx.jobs.begin_again(each, each.origin)
