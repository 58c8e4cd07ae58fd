"""Answer an approval: a person lets a stage go on, or rejects it."""

from collections.abc import Mapping
from typing import Any

from rivet.domain.errors import Conflict, Forbidden, NotFound
from rivet.domain.ids import RunId
from rivet.domain.inputs import check_values
from rivet.domain.job import Job
from rivet.domain.pipeline import Approval
from rivet.domain.record import ControlEvent
from rivet.domain.stage import Stage
from rivet.domain.states import JobStatus, Reason, RunStatus, StageStatus
from rivet.engine.advance_run import advance_run, end_asked
from rivet.engine.ports import Store, Tx


def approve(run_id: RunId, key: str, actor: str, answers: Mapping[str, Any], *, store: Store) -> None:
    """Let the stage go on, with typed answers that later stages read as outputs.

    Approving what is approved changes nothing. Raises NotFound, Conflict where nobody is asked, Forbidden
    where `actor` is not among the approvers, InvalidInput naming the answer.
    """
    with store.begin() as tx:
        job, stage, approval = _asked(run_id, key, actor, tx)
        if stage.approved_by is not None:
            return
        if stage.status is not StageStatus.WAITING:
            raise Conflict(f'stage "{key}" is {stage.status}; nobody is asked about it')
        what = f'the approval of "{stage.name}"'
        values = check_values(approval.inputs, answers, what)
        tx.stages.note_approval(stage, actor)
        tx.stages.move(stage, StageStatus.PENDING if stage.spec.has_script else StageStatus.PASSED)
        # Behind the move: a stage that is to come has set nothing yet.
        for name, value in values.items():
            tx.stages.set_output(run_id, stage.key, name, value)
        told = {"job": str(job.id), "stage": stage.key, "actor": actor}
        tx.records.append(run_id, [(ControlEvent.APPROVED, told)])
        advance_run(run_id, tx)


def reject(run_id: RunId, key: str, actor: str, reason: str, *, store: Store) -> None:
    """End the stage `failed`, reason `rejected`. Rejecting what has ended changes nothing.

    Raises NotFound, Conflict, Forbidden.
    """
    with store.begin() as tx:
        job, stage, _ = _asked(run_id, key, actor, tx)
        if stage.status is StageStatus.FAILED and stage.reason is Reason.REJECTED:
            return
        if stage.status is not StageStatus.WAITING:
            raise Conflict(f'stage "{key}" is {stage.status}; nobody is asked about it')
        told = {"job": str(job.id), "stage": stage.key, "actor": actor, "why": reason[:2000]}
        tx.records.append(run_id, [(ControlEvent.REJECTED, told)])
        end_asked(job, stage, StageStatus.FAILED, JobStatus.FAILED, Reason.REJECTED, tx)
        advance_run(run_id, tx)


def _asked(run_id: RunId, key: str, actor: str, tx: Tx) -> tuple[Job, Stage, Approval]:
    jobs = tx.jobs.lock_of_run(run_id)
    run = tx.runs.lock(run_id)
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    stages = tx.stages.of_run(run_id)
    stage = next((stage for stage in stages if stage.key == key), None)
    if stage is None or stage.spec.approval is None:
        asking = [each.key for each in stages if each.spec.approval is not None]
        known = f"; those that ask are {', '.join(asking)}" if asking else "; no stage of it asks for one"
        raise NotFound(f'the run has no stage "{key[:100]}" that asks for an approval{known}')
    if run.status is RunStatus.CANCELLING:
        raise Conflict("the run is being cancelled")
    approvers = stage.spec.approval.approvers
    if approvers and actor not in approvers:
        raise Forbidden(f'stage "{key}" asks {", ".join(approvers)}, and you are {actor}')
    return next(job for job in jobs if job.id == stage.job_id), stage, stage.spec.approval
