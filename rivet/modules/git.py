"""The Lua module `git`."""

from typing import Any

from rivet.modules.contract import Call, CallError, Name, Opaque, StageContext, WorkspacePath, about

MOST_COMMITS = 1000
_FIELDS = ("commit", "author", "email", "at", "subject", "body")
_PATH = "the folder of the clone, or one in it"
_REF = "a branch, a tag, a commit, or what git makes one of: HEAD~1"


class Clone(Call, module="git"):
    """Clone a repository into the workspace, or bring the clone that is there up to date.

    The commit's hash comes back. A folder that holds anything but a clone of the same url is an error.
    """

    url: str = about("where from: https, http, or file:// beneath a folder that the runner allows")
    branch: Name | None = about("branch or tag; the remote's default if absent", default=None)
    commit: str | None = about("the full hash of a commit, instead of a branch's newest", default=None)
    depth: int = about("commits of history; 0 for all", default=1, minimum=0, maximum=1_000_000)
    path: WorkspacePath = about("folder to clone into", default=".")
    token: str | Opaque | None = about(
        "for a repository that is not for everyone: an access token, best out of secrets.get", default=None
    )
    submodules: bool = about(
        "whether to fetch its submodules too, and theirs, each from its own url", default=False
    )

    example = 'git.clone({ url = "https://example.org/a.git", branch = "main" })'

    def act(self, stage: StageContext) -> str:
        return stage.fetch_git(
            self.url, self.branch, self.commit, self.depth, self.path,
            submodules=self.submodules, token=self.token,
        )


class Checkout(Call, module="git", short=("ref",)):
    """Check out another commit of a clone; what was changed in tracked files is lost. Its hash comes back."""

    ref: Name = about(_REF)
    path: WorkspacePath = about(_PATH, default=".")
    example = 'git.checkout("v1.2.0")'

    def act(self, stage: StageContext) -> str:
        stage.run_git(self.title(), self.path, ["checkout", "--quiet", "--force", self.ref, "--"])
        return _commit(stage, self.title(), self.path, "HEAD")


class RevParse(Call, module="git", short=("ref",)):
    """The full hash of a commit."""

    ref: Name = about(_REF, default="HEAD")
    path: WorkspacePath = about(_PATH, default=".")
    example = 'local short = git.rev_parse("HEAD"):sub(1, 12)'

    def act(self, stage: StageContext) -> str:
        return _commit(stage, self.title(), self.path, self.ref)


class ChangedFiles(Call, module="git", short=("base",)):
    """Files that the checked out commit changes against where it left `base`, in order.

    Paths are those within the repository. A clone must hold that history: `depth = 0` brings all of it.
    """

    base: Name = about("a branch, a tag or a commit")
    path: WorkspacePath = about(_PATH, default=".")
    example = 'for _, file in ipairs(git.changed_files("main")) do log.info(file) end'

    def act(self, stage: StageContext) -> list[str]:
        base = _known(stage, self.title(), self.path, self.base)
        difference = ["diff", "--name-only", "-z", "--no-renames", "--no-ext-diff", f"{base}...HEAD", "--"]
        try:
            said = stage.run_git(self.title(), self.path, difference)
        except CallError as failed:
            if "no merge base" not in str(failed):
                raise
            raise CallError(
                f'{self.title()}: base: the clone does not hold where the commit left "{self.base}"; '
                "git.clone with depth = 0 brings all history"
            ) from None
        return [_text(name) for name in said.split(b"\0") if name]


class Describe(Call, module="git"):
    """A name for the checked out commit by its newest tag, such as `v1.2.0-3-gdeadbee`; else a short hash."""

    path: WorkspacePath = about(_PATH, default=".")
    example = "local version = git.describe()"

    def act(self, stage: StageContext) -> str:
        return _text(stage.run_git(self.title(), self.path, ["describe", "--tags", "--always"]).strip())


class Log(Call, module="git"):
    """The newest commits, each a table of `commit`, `author`, `email`, `at`, `subject` and `body`.

    `at` is when it was written, in seconds since 1970.
    """

    count: int = about("at most how many", default=20, minimum=1, maximum=MOST_COMMITS)
    ref: Name = about(_REF, default="HEAD")
    path: WorkspacePath = about(_PATH, default=".")
    example = "local subject = git.log({ count = 1 })[1].subject"

    def act(self, stage: StageContext) -> list[dict[str, Any]]:
        form = "--format=%H%x00%an%x00%ae%x00%at%x00%s%x00%b"
        commit = _commit(stage, self.title(), self.path, self.ref)
        said = stage.run_git(
            self.title(), self.path, ["log", "-z", f"--max-count={self.count}", form, commit, "--"]
        )
        parts = [_text(part) for part in said.split(b"\0")]
        return [_entry(parts[at : at + len(_FIELDS)]) for at in range(0, len(parts) - 5, len(_FIELDS))]


def _entry(parts: list[str]) -> dict[str, Any]:
    told: dict[str, Any] = dict(zip(_FIELDS, parts, strict=True))
    return {**told, "at": int(told["at"]), "body": told["body"].rstrip("\n")}


def _known(stage: StageContext, title: str, path: str, ref: str) -> str:
    """The commit that is meant; a branch may be there as the other side's alone."""
    try:
        return _commit(stage, title, path, ref)
    except CallError as failed:
        try:
            return _commit(stage, title, path, f"refs/remotes/origin/{ref}")
        except CallError:
            raise failed from None


def _commit(stage: StageContext, title: str, path: str, ref: str) -> str:
    asked = ["rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}"]
    try:
        return _text(stage.run_git(title, path, asked).strip())
    except CallError as failed:
        if "said nothing" not in str(failed):
            raise
        raise CallError(
            f'{title}: the clone in "{path}" knows no commit "{ref}"; a clone of depth 1 has one only'
        ) from None


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
