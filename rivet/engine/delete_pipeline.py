"""Delete a pipeline with its versions and its runs, once none of them is going on."""

from rivet.domain.errors import Conflict, NotFound
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of


def delete_pipeline(project: str, slug: str, *, store: Store) -> None:
    """Raises NotFound, and Conflict while one of its runs goes on."""
    with store.begin() as tx:
        pipeline = tx.pipelines.get(project_of(project, tx).id, slug)
        if pipeline is None:
            raise NotFound(f'project "{project}" has no pipeline "{slug}" (`rivet pipeline list` shows all)')
        going_on = tx.pipelines.delete(pipeline.id)
        if going_on:
            raise Conflict(
                f'{going_on} of the runs of pipeline "{slug}" go on; wait for their end, or cancel them '
                "(`rivet runs cancel`), and delete it then"
            )
