"""Create a project."""

from rivet.domain.errors import Conflict, InvalidInput
from rivet.domain.pipeline import slug_of
from rivet.engine.ports import Store


def create_project(slug: str, *, store: Store) -> None:
    """Raises InvalidInput for what is no name of one, and Conflict where it is taken."""
    right = slug_of(slug[:200])
    if right != slug:
        hint = f'; did you mean "{right}"?' if right else ""
        raise InvalidInput(
            f'name: "{slug[:100]}" is no name of a project: small letters, digits and single hyphens '
            f"between them, at most 100{hint}"
        )
    with store.begin() as tx:
        if not tx.projects.add(slug):
            raise Conflict(f'there is a project "{slug}" already')
