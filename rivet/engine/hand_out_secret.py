"""Hand a secret's value to the runner that holds a job, if the job's pipeline may use it at this moment."""

from rivet.domain.errors import Fenced, Forbidden, NotFound
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.record import ControlEvent
from rivet.domain.run import Run
from rivet.domain.secret import Secret
from rivet.domain.wording import did_you_mean
from rivet.engine.ports import Store, Tx
from rivet.engine.secret_ports import Vault

_MOST_NAMED = 200


def hand_out_secret(
    job_id: JobId,
    epoch: Epoch,
    session: SessionId,
    name: str,
    stage: StageKey | None,
    *,
    store: Store,
    vault: Vault,
) -> bytes:
    """The value; that it was handed out is recorded in the run, by name and stage.

    Raises Fenced where the job does not run in this epoch and session, NotFound, Forbidden where it was not
    granted, Conflict where the value was sealed under another key.
    """
    with store.begin() as tx:
        job = tx.jobs.get(job_id)
        if job is None or not job.is_held_in(epoch) or job.session != session:
            raise Fenced(f"job {job_id} is not held in epoch {epoch} by this runner: it gets no secrets")
        run = tx.runs.get(job.run_id)
        if run is None:
            raise Fenced(f"the run of job {job_id} is gone")
        secret = _granted(name, run, tx)
        value = vault.open(secret.sealed, run.project_id, name)
        told = {"job": str(job_id), "epoch": epoch, "stage": _known(stage, job_id, tx), "name": name}
        tx.records.append(run.id, [(ControlEvent.SECRET_USED, told)])
    return value


def _granted(name: str, run: Run, tx: Tx) -> Secret:
    secret = tx.secrets.get(run.project_id, name)
    if secret is None:
        raise NotFound(_missing(name, run, tx))
    audience = secret.audience
    if not audience.has_pipeline(run.pipeline):
        raise Forbidden(
            f'secret "{name}" was not granted to the pipeline "{run.pipeline}": '
            f"allow it with `rivet secret set {name} --pipeline {run.pipeline}`, beside those it has"
        )
    branch = run.facts.get("branch")
    if not audience.has_branch(branch):
        of = f'the branch "{branch}"' if branch is not None else "no branch"
        globs = ", ".join(audience.branches)
        raise Forbidden(
            f'secret "{name}" was granted to runs on {globs} alone, and this run is of {of}: '
            f"`rivet secret set {name} --pipeline {run.pipeline} --branch GLOB` says which may use it"
        )
    allowed = run.plan.secrets
    if allowed is not None and name not in allowed:
        raise Forbidden(
            f'secret "{name}" is not among the `secrets` that the pipeline "{run.pipeline}" asks for: '
            f"add it to the list in its file"
        )
    return secret


def _missing(name: str, run: Run, tx: Tx) -> str:
    """Only what this pipeline may use is named besides."""
    near = [
        each.name
        for each in tx.secrets.of_project(run.project_id, after=None, limit=_MOST_NAMED)
        if each.audience.has_pipeline(run.pipeline)
    ]
    hint = did_you_mean(name, near)
    return (
        f'project "{run.project}" has no secret "{name}"{hint if hint.startswith("; did") else ""}; '
        f"set it with `rivet secret set {name} --pipeline {run.pipeline}`"
    )


def _known(stage: StageKey | None, job: JobId, tx: Tx) -> StageKey | None:
    """What the runner says is recorded only if the job has such a stage."""
    return stage if any(each.key == stage for each in tx.stages.of_job(job)) else None
