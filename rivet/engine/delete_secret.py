"""Delete a secret: its sealed value is gone, and nobody gets it from that moment on."""

from rivet.domain.errors import NotFound
from rivet.engine.ports import Store
from rivet.engine.save_pipeline import project_of


def delete_secret(project: str, name: str, *, store: Store) -> None:
    """Raises NotFound for an unknown project or secret."""
    with store.begin() as tx:
        if not tx.secrets.delete(project_of(project, tx).id, name):
            raise NotFound(
                f'project "{project}" has no secret "{name[:100]}" (`rivet secret list` shows all names)'
            )
