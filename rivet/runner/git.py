"""`git.clone`: bring a repository into the workspace.

The half that talks to the other side runs in a short room of its own, whose proxy knows one URL, or which
sees one path of the host read-only. What is written into the folder happens in another, without network.
"""

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from rivet.runner import git_token
from rivet.runner.git_submodules import MOST_LEVELS, GitFailed, fetch_submodule, find_submodules
from rivet.runner.reach import ProxyRules, ReachPolicy
from rivet.runner.room import CannotStart, Room, RoomSpec
from rivet.runner.room_command import Output
from rivet.runner.room_files import RoomFiles
from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.namespaces import OURS

SOURCE = f"{OURS}/source"
CONFIG = "gitconfig"
MOST_OUTPUT = 8 << 20
MOST_WAIT_S = 3600.0
__all__ = ["HARDENED", "HASH", "GitFailed", "fetch_git", "find_source"]
LAST_LINES = 5

_CONFIG = b"""\
[safe]
\tdirectory = *
[init]
\tdefaultBranch = main
[advice]
\tdetachedHead = false
[gc]
\tauto = 0
[maintenance]
\tauto = false
[http]
\tlowSpeedLimit = 100
\tlowSpeedTime = 120
"""
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "SSH_ASKPASS": "/bin/false",
    "LC_ALL": "C.UTF-8",
    # An allowed address of the runner's own loopback is reached through the proxy like any other.
    "NO_PROXY": "",
    "no_proxy": "",
}
# On the command line, so that they win over what a folder's own configuration says.
HARDENED = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never",
    "-c", "http.followRedirects=false", "-c", "credential.helper=", "-c", "submodule.recurse=false",
    "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "core.alternateRefsCommand=true",
)  # fmt: skip
_REF = re.compile(
    r"(?!.*(\.\.|//|@\{|\.lock(/|$)|/\.))"
    r"[^\x00-\x20\x7f~^:?*\[\\./-][^\x00-\x20\x7f~^:?*\[\\]*(?<![./])"
)
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


# What a server says that serves plain files, or no single commit by its hash.
_GIVES_ALL_OR_NOTHING = (b"dumb http transport does not support shallow", b"unadvertised object")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a repository is got from: the URL that git is given, its protocol, and how it is reached."""

    given: str
    url: str
    protocol: str
    network: ProxyRules | None = None
    binds: tuple[Bind, ...] = ()


@dataclass(frozen=True, slots=True)
class Target:
    """What to check out: a branch, a tag or a commit; and what has to be fetched for it."""

    checkout: tuple[str, ...]
    refspecs: tuple[str, ...]
    shown: str


def fetch_git(
    url: str,
    ref: str | None,
    commit: str | None,
    depth: int,
    path: str,
    *,
    spec: RoomSpec,
    reach: ReachPolicy,
    on_output: Output,
    stop: Callable[[], str | None] = lambda: None,
    timeout_s: float = MOST_WAIT_S,
    submodules: bool = False,
    token: bytes | None = None,
    levels: int = MOST_LEVELS,
) -> str:
    """Bring `url` into `path` of the workspace and check out `ref` (a branch or tag) or `commit`; its hash.

    `spec` is the stage's own room: workspace, user and tools are taken from it. Without `ref` and `commit`
    it is the other side's default branch. `depth` is how many commits of history, 0 for all. A folder that is
    a clone of the same URL is brought up to date, what was changed in it is lost. `on_output` gets one
    line. With `submodules` those of the commit are fetched too, `levels` within one another, from the URLs
    that it names, where these may be reached. `token` is for a server that wants one, and for those
    submodules that it has too. Raises GitFailed, RoomLost, CannotEnclose.
    """
    begun = time.monotonic()
    source = find_source(url, reach)
    _check_wanted(ref, commit)
    if token is not None and source.network is None:
        raise GitFailed("git.clone: token: is for https and http; a folder of the runner takes none")
    quiet = replace(spec, home=None, read_only=(), network=None, binds=(), files={CONFIG: _CONFIG})
    files = {**quiet.files, **(git_token.files(token) if token is not None else {})}
    with Room(replace(quiet, network=source.network, binds=source.binds, files=files)) as room:
        git = _Git(room, path, source, stop, begun + timeout_s, has_token=token is not None)
        is_new = git.prepare()
        try:
            target = git.find(ref, commit)
            git.fetch(target, depth, commit)
        except GitFailed:
            if is_new:
                git.forget()
            raise
    with Room(quiet) as room:
        git = _Git(room, path, source, stop, begun + timeout_s)
        git.run("checkout", "--quiet", "--force", *target.checkout)
        git.run("reset", "--quiet", "--hard")
        found = git.run("rev-parse", "--verify", "HEAD").strip()
        within = find_submodules(git.run, source.given) if submodules else []
    if not HASH.fullmatch(found):
        raise GitFailed(f"git.clone: git did not say which commit it checked out of {url}")
    done = f"{url}: {target.shown} at {found[:12]} in {path} after {time.monotonic() - begun:.1f} s\n"
    on_output("stdout", done.encode())
    for each in within:
        fetch_submodule(
            each, path, levels, lambda url, commit, at, left: fetch_git(
                url, None, commit, depth, at, spec=spec, reach=reach, on_output=on_output, stop=stop,
                timeout_s=begun + timeout_s - time.monotonic(), submodules=True, levels=left,
                token=token if git_token.is_for(url, source.given) else None,
            ),
        )  # fmt: skip
    return found


def find_source(url: str, reach: ReachPolicy) -> Source:
    """How a URL may be reached. Raises GitFailed naming the field and the setting."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        if parts.username is not None or parts.password is not None:
            raise GitFailed("git.clone: url: holds a user name or password, which would get into logs")
        if not parts.hostname or parts.query or parts.fragment:
            raise GitFailed(f'git.clone: url: "{url}" is not a URL of a repository')
        return Source(url, url, parts.scheme, ProxyRules(reach, url=url))
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return _local(url, unquote(parts.path), reach)
    if url.startswith("/"):
        return _local(url, url, reach)
    raise GitFailed(
        f'git.clone: url: expected https://…, http://…, file:///… or an absolute path, given "{url}"'
    )


def _local(given: str, path: str, reach: ReachPolicy) -> Source:
    allowed = [os.path.realpath(each) for each in reach.allow_paths]
    try:
        real = os.path.realpath(path)
    except (OSError, ValueError):
        # A link that may not be read, such as /proc/1/root, or a NUL byte: nowhere that is allowed.
        real = ""
    if not any(Path(real).is_relative_to(each) for each in allowed):
        beneath = ", ".join(reach.allow_paths) or "none"
        raise GitFailed(
            f'git.clone: url: "{given}" is not beneath a folder that this runner allows ({beneath}). '
            f"Ask its operator to add one to RIVET_ALLOW_PATHS"
        )
    if not os.path.isdir(real):
        raise GitFailed(f'git.clone: url: there is no folder "{given}" on the runner')
    return Source(given, f"file://{SOURCE}", "file", binds=(Bind(Path(real), SOURCE),))


def _check_wanted(ref: str | None, commit: str | None) -> None:
    if ref is not None and not _REF.fullmatch(ref):
        raise GitFailed(f'git.clone: branch: "{ref}" cannot be the name of a branch or tag')
    if commit is not None and not HASH.fullmatch(commit):
        raise GitFailed(
            f'git.clone: commit: expected a full hash of 40 hexadecimal digits, given "{commit}"'
        )


class _Git:
    """Commands of git in one room and folder, each with nothing of the folder's own powers."""

    def __init__(
        self, room: Room, path: str, source: Source, stop: Callable[[], str | None], until: float,
        *, has_token: bool = False,
    ) -> None:
        self._room = room
        self._files = RoomFiles(room)
        self._path = path
        workspace = room.layout.workspace
        self._folder = workspace if path in ("", ".") else f"{workspace}/{path}"
        self._source = source
        self._place = room.sees(source.binds[0]) if source.binds else ""
        self._url = f"file://{quote(self._place)}" if self._place else source.url
        self._stop = stop
        self._until = until
        self._has_token = has_token

    def prepare(self) -> bool:
        """Make an empty repository (True), or make sure that what is there is a clone of the same URL."""
        path = self._path
        try:
            found = self._files.stat(path)
            is_empty = found is None or (found.kind == "folder" and not self._files.list(path))
        except OSError as error:
            raise GitFailed(f'git.clone: path: "{path}" cannot be cloned into: {error.strerror}') from None
        if found is None or is_empty:
            self.run("init", "--quiet", "--template=", "--", self._folder, within=False)
            self.run("config", "remote.origin.url", self._source.given)
            self.run("config", "remote.origin.fetch", "+refs/heads/*:refs/remotes/origin/*")
            return True
        origin = ""
        if found.kind == "folder" and self._files.exists(f"{path}/.git"):
            origin = self.run("config", "--default", "", "--get", "remote.origin.url").rstrip("\n")
        if origin != self._source.given:
            holds = f"is a clone of {origin}" if origin else "is not empty and holds no clone"
            raise GitFailed(
                f'git.clone: path: "{path}" {holds}; give another path for {self._source.given}, '
                f"or remove what is there first"
            )
        return False

    def forget(self) -> None:
        """Take away what `prepare` made, so that another attempt finds the folder as it was."""
        self._room.run(
            ["rm", "-rf", "--", f"{self._folder}/.git"], env={}, on_output=lambda *_: None, timeout_s=60
        )

    def find(self, ref: str | None, commit: str | None) -> Target:
        """What is meant by a branch, a tag, a commit, or by nothing (the other side's default branch)."""
        if commit is not None:
            return Target(("--detach", commit), (commit,), commit[:12])
        wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}"] if ref is not None else ["HEAD"]
        said = self.run("ls-remote", "--symref", "--", self._url, *wanted)
        names = {line.partition("\t")[2] for line in said.splitlines() if not line.startswith("ref: ")}
        if ref is None:
            default = re.search(r"^ref: refs/heads/(\S+)\tHEAD$", said, re.MULTILINE)
            if default is not None and _REF.fullmatch(default[1]):
                return _branch(default[1])
            if "HEAD" in names:
                head = "refs/remotes/origin/HEAD"
                return Target(("--detach", head), (f"+HEAD:{head}",), "HEAD")
            raise GitFailed(f"git.clone: {self._source.given} has no commit yet, or no default branch")
        if f"refs/heads/{ref}" in names:
            return _branch(ref)
        if f"refs/tags/{ref}" in names:
            tag = f"refs/tags/{ref}"
            return Target(("--detach", f"{tag}^{{commit}}"), (f"+{tag}:{tag}",), ref)
        raise GitFailed(f'git.clone: branch: {self._source.given} has no branch or tag "{ref}"')

    def fetch(self, target: Target, depth: int, commit: str | None) -> None:
        """Get the target's commits and as much history as was asked for."""
        common = ["fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head"]
        everything = ("+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*")
        if depth == 0:
            whole = ["--unshallow"] if self._files.exists(f"{self._path}/.git/shallow") else []
            self.run(*common, *whole, "--", self._url, *everything)
            if commit is not None and not self._has(commit):
                self.run(*common, "--", self._url, *target.refspecs)
            return
        shallow = [*common, "--no-tags", f"--depth={depth}", "--", self._url, *target.refspecs]
        code, _, err = self._try(*shallow)
        if code == 0:
            return
        if not any(words in err for words in _GIVES_ALL_OR_NOTHING):
            raise self._failed("fetch", err)
        self.run(*common, "--", self._url, *(everything if commit is not None else target.refspecs))

    def _has(self, commit: str) -> bool:
        code, _, _ = self._try("cat-file", "-e", f"{commit}^{{commit}}")
        return code == 0

    def run(self, *arguments: str, within: bool = True) -> str:
        """Standard output of a command of git. Raises GitFailed with git's last lines where it fails."""
        code, out, err = self._try(*arguments, within=within)
        if code != 0:
            raise self._failed(arguments[0], err)
        return out.decode(errors="replace")

    def _failed(self, verb: str, err: bytes) -> GitFailed:
        refusals = self._room.network_refusals()
        if refusals:
            return GitFailed(f"git.clone: url: {refusals[-1]}")
        lines = [line for line in err.decode(errors="replace").splitlines() if line.strip()]
        said = " / ".join(lines[-LAST_LINES:]).replace(self._url, self._source.given)
        said = said.replace(self._place, self._source.given) if self._place else said
        said = said or "it said nothing"
        return GitFailed(f"git.clone: git {verb} failed for {self._source.given}: {said}{self._why(said)}")

    def _why(self, said: str) -> str:
        if re.search(r"returned error: 30[1278]", said):
            return ". A redirect is not followed: give the URL that it leads to"
        if self._source.protocol == "file" and re.search(r"ermission denied|does not appear|unable to", said):
            return (
                ". The stage's user may not be allowed to read that folder: others must be"
                if self._room.spec.uid is not None
                else ". It must be a repository of its own, that needs nothing outside of its folder"
            )
        return git_token.refusal(said, has_token=self._has_token)

    def _try(self, *arguments: str, within: bool = True) -> tuple[int, bytes, bytes]:
        place = [f"--git-dir={self._folder}/.git", f"--work-tree={self._folder}"] if within else []
        protocol = ["-c", f"protocol.{self._source.protocol}.allow=always"]
        if self._has_token:
            protocol += git_token.arguments(self._room.layout.ours)
        output = _Kept()
        try:
            ended = self._room.run(
                ["git", *HARDENED, *protocol, *place, *arguments],
                env={
                    **_ENVIRONMENT,
                    "GIT_CONFIG_GLOBAL": f"{self._room.layout.ours}/{CONFIG}",
                    "GIT_ALLOW_PROTOCOL": self._source.protocol,
                    "GIT_NO_LAZY_FETCH": "1",
                },
                on_output=output.take,
                timeout_s=max(0.1, self._until - time.monotonic()),
                stop=self._stop,
            )
        except CannotStart as error:
            raise GitFailed(f"git.clone: {error}. git is needed on the runner's machine") from error
        if ended.ended_by == "stop":
            raise GitFailed(f"git.clone: {ended.reason}")
        if ended.ended_by == "timeout":
            raise GitFailed(f"git.clone: {self._source.given} took too long and was given up")
        return ended.exit_code, bytes(output.of["stdout"]), bytes(output.of["stderr"])


class _Kept:
    """Both outputs of a command, the latest part if there is too much."""

    def __init__(self) -> None:
        self.of = {"stdout": bytearray(), "stderr": bytearray()}

    def take(self, stream: str, data: bytes) -> None:
        kept = self.of[stream]
        kept += data
        if len(kept) > MOST_OUTPUT:
            del kept[: len(kept) - MOST_OUTPUT]


def _branch(name: str) -> Target:
    remote = f"refs/remotes/origin/{name}"
    return Target(("-B", name, "--track", f"origin/{name}"), (f"+refs/heads/{name}:{remote}",), name)

