"""Keep what a stage hands on to stages that start from other workspaces."""

from rivet.domain.artifact import Contents
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.keeping import KeepConflict, Paths, conflict_of
from rivet.engine.held_job import held_job
from rivet.engine.keep_blob import keep_blob
from rivet.engine.ports import Store


def keep_files(
    job: JobId,
    epoch: Epoch,
    session: SessionId,
    stage: StageKey,
    contents: Contents,
    paths: Paths,
    *,
    most_bytes: int,
    store: Store,
) -> KeepConflict | None:
    """Put it in place of what the stage kept before; nothing is kept where it is told with what it conflicts.

    Members of a group keep one after another, so that whoever comes second meets the conflict: a group never
    ends with one. Raises Fenced, InvalidInput.
    """
    if contents.form != "tar":
        raise InvalidInput("form: what a stage keeps is stored as a tar")
    with store.begin() as tx:
        held, run = held_job(job, epoch, session, tx, lock=True)
        tx.runs.lock(run.id)
        stages = tx.stages.of_run(run.id)
        mine = next((each for each in stages if each.job_id == held.id and each.key == stage), None)
        if mine is None:
            raise InvalidInput(f'the job has no stage "{stage}"')
        group = mine.spec.group
        members = [each for each in stages if group is not None and each.spec.group == group]
        others = [each.key for each in members if each != mine]
        conflict = conflict_of(paths, tx.keeps.paths(run.id, others))
        if conflict is None:
            blob = keep_blob(run.project_id, contents.blob, most_bytes, f'what "{mine.name}" keeps', tx)
            tx.keeps.put(run.id, stage, contents, paths, blob)
        return conflict
