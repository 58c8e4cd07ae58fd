"""What the verbs need of the world where projects are made and go."""

from typing import Protocol

from rivet.domain.ids import PipelineId, ProjectId


class Projects(Protocol):
    def add(self, slug: str) -> bool:
        """False where there is one of that name."""

    def lock(self, slug: str) -> ProjectId | None:
        """One that is not deleted, locked until the transaction ends."""

    def pipelines(self, project: ProjectId) -> list[tuple[PipelineId, str]]:
        """Ids and slugs, in order of the slugs."""

    def delete(self, project: ProjectId) -> None:
        """With its secrets and folders; its pipelines must be gone. Its name is free from then on."""

    def drop_deleted(self) -> int:
        """Forget those of which nothing is left, also no piece of a blob; how many."""
