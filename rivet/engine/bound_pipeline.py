"""Say for how long, or how many, runs of one pipeline are kept: less than all others, never more."""

from rivet.domain.errors import NotFound
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of


def bound_pipeline(
    project: str, slug: str, keep_days: int | None, keep_runs: int | None, *, store: Store
) -> None:
    """None: as the settings say. Raises NotFound."""
    with store.begin() as tx:
        pipeline = tx.pipelines.get(project_of(project, tx).id, slug)
        if pipeline is None or not tx.pipelines.bound(pipeline.id, keep_days, keep_runs):
            raise NotFound(f'project "{project}" has no pipeline "{slug}" (`rivet pipeline list` shows all)')
