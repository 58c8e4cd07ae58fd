"""Submodules of a commit: which there are, from where, and each a clone of its own within the first."""

from collections.abc import Callable
from dataclasses import dataclass

MOST = 100
MOST_LEVELS = 5

Git = Callable[..., str]
"""Runs git in the clone; its standard output. Raises GitFailed."""
Fetch = Callable[[str, str, str, int], str]
"""url, commit, path in the workspace, and how many levels may lie within."""


class GitFailed(Exception):
    """A repository did not come into the workspace; the message says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Submodule:
    """`path` is relative to the clone that it is in."""

    path: str
    url: str
    commit: str


def find_submodules(git: Git, parent_url: str) -> list[Submodule]:
    """What the checked out commit names, in order of paths. Raises GitFailed for what is no submodule."""
    if not git("ls-tree", "HEAD", "--", ".gitmodules"):
        return []
    said = git("config", "--blob", "HEAD:.gitmodules", "--null", "--list")
    told: dict[str, dict[str, str]] = {}
    for entry in said.split("\0"):
        key, _, value = entry.partition("\n")
        section, _, field = key.rpartition(".")
        if section.startswith("submodule."):
            told.setdefault(section, {})[field] = value
    paths = {fields["path"]: fields.get("url", "") for fields in told.values() if "path" in fields}
    if len(paths) > MOST:
        raise GitFailed(f"git.clone: submodules: {parent_url} has {len(paths)}, and {MOST} are allowed")
    return [
        Submodule(path, _whole_url(url, parent_url), commit)
        for path, url in sorted(paths.items())
        if (commit := _linked(git, path)) is not None
    ]


def fetch_submodule(found: Submodule, parent_path: str, levels: int, fetch: Fetch) -> None:
    """Clone it into its place. Raises GitFailed that names it."""
    if levels <= 0:
        raise GitFailed(
            f'git.clone: submodules: "{found.path}" is more than {MOST_LEVELS} submodules within one another'
        )
    path = found.path if parent_path in ("", ".") else f"{parent_path}/{found.path}"
    try:
        fetch(found.url, found.commit, path, levels - 1)
    except GitFailed as failed:
        words = str(failed).removeprefix("git.clone: ").removeprefix("url: ")
        raise GitFailed(f'git.clone: submodules: "{found.path}": {words}') from None


def _linked(git: Git, path: str) -> str | None:
    """The commit that stands for the submodule in its parent; None where there is none any more."""
    parts = path.split("/")
    if path.startswith(("/", ":")) or {"", ".", "..", ".git"} & {part.lower() for part in parts}:
        raise GitFailed(f'git.clone: submodules: "{path}" is no path that a submodule may have')
    mode, _, rest = git("ls-tree", "HEAD", "--", path).partition(" ")
    return rest.split()[1] if mode == "160000" else None


def _whole_url(url: str, parent_url: str) -> str:
    """The URL itself; one that begins with `./` or `../` is relative to the parent's."""
    if not url.startswith(("./", "../")):
        return url
    base = parent_url.rstrip("/")
    while url.startswith(("./", "../")):
        if url.startswith("../"):
            base = base.rpartition("/")[0]
        url = url.partition("/")[2]
    return f"{base}/{url}"
