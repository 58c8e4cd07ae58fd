"""List secrets: names, who may use them, who set them and when; never a value."""

from collections.abc import Sequence

from rivet.domain.secret import Secret
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of


def list_secrets(
    project: str, *, after: str | None, limit: int, store: Store
) -> tuple[Sequence[Secret], str | None]:
    """One page by name, and the name after which the next begins. Raises NotFound for an unknown project."""
    with store.begin() as tx:
        found = tx.secrets.of_project(project_of(project, tx).id, after=after, limit=limit + 1)
    return found[:limit], found[limit - 1].name if len(found) > limit else None
