"""Pause a pipeline, a queue or a runner, and take that back."""

from rivet.domain.errors import Conflict, NotFound
from rivet.domain.pause import Pause, Paused
from rivet.engine.ports import Store, Tx
from rivet.engine.save_pipeline import project_of


def pause_work(
    kind: Paused, name: str, why: str, actor: str, *, store: Store, project: str = "default"
) -> Pause:
    """From its commit on no job of it is claimed. Pausing again gives another reason.

    Raises NotFound where there is no such pipeline or runner; a queue needs no runner to be paused.
    """
    with store.begin() as tx:
        return tx.pauses.put(kind, _target(kind, name, project, tx), why, actor)


def resume_work(kind: Paused, name: str, *, store: Store, project: str = "default") -> int:
    """Take a pause back; how many jobs that had waited are published at once.

    Raises NotFound, and Conflict where it is not paused.
    """
    with store.begin() as tx:
        target = _target(kind, name, project, tx)
        if not tx.pauses.drop(kind, target):
            raise Conflict(f'{kind} "{name}" is not paused')
        return tx.pauses.publish_again(kind, target)


def _target(kind: Paused, name: str, project: str, tx: Tx) -> str:
    if kind is Paused.PIPELINE:
        pipeline = tx.pipelines.get(project_of(project, tx).id, name)
        if pipeline is None:
            raise NotFound(f'project "{project}" has no pipeline "{name}" (`rivet pipeline list` shows all)')
        return str(pipeline.id)
    if kind is Paused.RUNNER and tx.runners.get(name) is None:
        raise NotFound(f'there is no runner "{name}" (`rivet runner list` shows all)')
    return name
