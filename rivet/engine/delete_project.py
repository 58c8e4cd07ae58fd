"""Delete a project with all that hangs on it, once none of its runs is going on."""

from rivet.domain.errors import Conflict, NotFound
from rivet.engine.ports import Store

DEFAULT = "default"


def delete_project(slug: str, *, store: Store) -> None:
    """Pipelines, runs, secrets, caches and folders go at once; what is stored of files within a day.

    Raises NotFound, and Conflict for the one that is always there, and while one of its runs goes on.
    """
    if slug == DEFAULT:
        raise Conflict(f'the project "{DEFAULT}" stays: it is what is meant where none is named')
    with store.begin() as tx:
        project = tx.projects.lock(slug)
        if project is None:
            raise NotFound(f'there is no project "{slug}"')
        for pipeline, name in tx.projects.pipelines(project):
            going_on = tx.pipelines.delete(pipeline)
            if going_on:
                raise Conflict(
                    f'{going_on} of the runs of pipeline "{name}" go on; wait for their end, or cancel them '
                    "(`rivet runs cancel`), and delete the project then"
                )
        tx.projects.delete(project)
