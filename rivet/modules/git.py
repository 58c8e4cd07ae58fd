"""The Lua module `git`."""

from rivet.modules.contract import Call, Name, StageContext, WorkspacePath, about


class Clone(Call, module="git"):
    """Clone a repository into the workspace, or bring the clone that is there up to date.

    The commit's hash comes back. A folder that holds anything but a clone of the same url is an error.
    """

    url: str = about("where from: https, http, or file:// beneath a folder that the runner allows")
    branch: Name | None = about("branch or tag; the remote's default if absent", default=None)
    commit: str | None = about("the full hash of a commit, instead of a branch's newest", default=None)
    depth: int = about("commits of history; 0 for all", default=1, minimum=0, maximum=1_000_000)
    path: WorkspacePath = about("folder to clone into", default=".")

    example = 'git.clone({ url = "https://example.org/a.git", branch = "main" })'

    def act(self, stage: StageContext) -> str:
        return stage.fetch_git(self.url, self.branch, self.commit, self.depth, self.path)
