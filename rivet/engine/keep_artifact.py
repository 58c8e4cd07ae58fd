"""Keep an artifact of a run, whose pieces have all been sent."""

from rivet.domain.artifact import Contents, checked_name
from rivet.domain.errors import Conflict, InvalidInput
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.engine.held_job import held_job
from rivet.engine.keep_blob import keep_blob
from rivet.engine.ports import Store


def keep_artifact(
    job: JobId,
    epoch: Epoch,
    session: SessionId,
    stage: StageKey,
    attempt: int,
    name: str,
    contents: Contents,
    *,
    most_bytes: int,
    store: Store,
) -> None:
    """Put it under its name in the run; what the same stage has put there before is replaced.

    Raises Fenced, InvalidInput, and Conflict where another stage has that name.
    """
    checked_name(name)
    with store.begin() as tx:
        held, run = held_job(job, epoch, session, tx, lock=True)
        if all(other.key != stage for other in tx.stages.of_job(held.id)):
            raise InvalidInput(f'the job has no stage "{stage}"')
        blob = keep_blob(run.project_id, contents.blob, most_bytes, f'artifact "{name}"', tx)
        if not tx.artifacts.put(run.id, name, stage, attempt, contents, blob):
            raise Conflict(
                f'another stage of this run has uploaded an artifact "{name}" already; give each its own name'
            )
