"""The Lua module `artifacts`."""

from typing import Any

from rivet.domain.artifact import NAME
from rivet.modules.contract import Call, Glob, StageContext, WorkspacePath, about
from rivet.modules.fs import MAX_PATTERNS, as_list


class Upload(Call, module="artifacts"):
    """Keep files of the workspace under a name of the run, for later stages, other runs and people.

    A single file is kept as it is; a folder, or what a glob matches, as a tar. What comes back is a table of
    `size` in bytes, `sha256` and `files`. The same stage may upload a name anew; another stage may not.
    """

    name: str = about("its name in the run: letters, digits, dots, dashes, underscores", pattern=NAME)
    path: list[Glob] | Glob = about(
        "which files: a path, a glob, or several", minimum=1, maximum=MAX_PATTERNS
    )
    example = 'artifacts.upload({ name = "wheel", path = "dist/*.whl" })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        kept = stage.artifacts.upload(self.name, as_list(self.path))
        return {"size": kept.blob.size, "sha256": kept.blob.sha256, "files": kept.files}


class Download(Call, module="artifacts"):
    """Bring an artifact of this run, or of another of the same project, into the workspace.

    Without `path` its files go back to the folder that they came from. What comes back is as with `upload`.
    """

    name: str = about("the artifact's name", pattern=NAME)
    path: WorkspacePath | None = about("a folder for its files; where they were if absent", default=None)
    run: str | None = about(
        "another run: its id, a prefix of it, or pipeline#12", default=None, minimum=1, maximum=200
    )
    example = 'artifacts.download({ name = "wheel", path = "in" })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        found = stage.artifacts.download(self.name, self.path, self.run)
        return {"size": found.blob.size, "sha256": found.blob.sha256, "files": found.files}
