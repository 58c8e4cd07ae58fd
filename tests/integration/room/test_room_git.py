"""`git.clone` against real repositories: over a path, over HTTP that knows git, and over plain files."""

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rivet.runner.git import GitFailed, fetch_git
from rivet.runner.reach import ReachPolicy
from rivet.runner.room_files import RoomFiles

IDENTITY = {
    "GIT_AUTHOR_NAME": "Alice", "GIT_AUTHOR_EMAIL": "alice@example.org",
    "GIT_COMMITTER_NAME": "Alice", "GIT_COMMITTER_EMAIL": "alice@example.org",
    "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
}  # fmt: skip


class Repository:
    """A repository with `main` (three commits), a branch `other` and an annotated tag `v1`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "-q", "-b", "main")
        self.first = self.commit("one")
        self.git("tag", "-a", "v1", "-m", "first")
        self.commit("two")
        self.git("checkout", "-q", "-b", "other")
        self.other = self.commit("other")
        self.git("checkout", "-q", "main")
        self.last = self.commit("three")

    def git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=self.folder, env={**os.environ, **IDENTITY}, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, content: str) -> str:
        (self.folder / "file").write_text(content)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", content)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def clone(spec, repository):
    """Clones into the workspace of this test, with everything beneath its folder allowed."""

    def run(url: str | None = None, ref=None, commit=None, depth=1, path=".", reach=None, token=None) -> str:
        told = bytearray()
        reach = reach or ReachPolicy(allow_paths=(str(repository.folder.parent),))
        url = url or f"file://{repository.folder}"
        found = fetch_git(
            url, ref, commit, depth, path, spec=spec, reach=reach,
            on_output=lambda _, data: told.extend(data), token=token,
        )  # fmt: skip
        assert found[:12] in told.decode()
        assert told.count(b"\n") == 1
        return found

    return run


class GitOverHttp(BaseHTTPRequestHandler):
    """git's own CGI program."""

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        path, _, query = self.path.partition("?")
        length = int(self.headers.get("Content-Length") or 0)
        given = self.headers.get("Authorization")
        if self.server.wants is not None and given != self.server.wants:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path.startswith("/moved/"):
            self.send_response(301)
            self.send_header("Location", path.replace("/moved/", "/repository/") + "?" + query)
            self.end_headers()
            return
        done = subprocess.run(
            ["git", "http-backend"], input=self.rfile.read(length), capture_output=True, check=True,
            env={
                **os.environ, "GIT_PROJECT_ROOT": self.server.root, "GIT_HTTP_EXPORT_ALL": "1",
                "PATH_INFO": path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
                "CONTENT_TYPE": self.headers.get("Content-Type", ""),
                "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
                "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
                "CONTENT_LENGTH": str(length), "REMOTE_ADDR": "127.0.0.1",
            },
        )  # fmt: skip
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(repository) -> Iterator[ThreadingHTTPServer]:
    """Serves the repository as /repository/.git; `wants` is the Authorization that it asks for."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), GitOverHttp)
    server.root = str(repository.folder.parent)
    server.wants = None
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def served(server) -> int:
    """The port of the server that asks nobody who they are."""
    return server.server_port


def test_the_default_branch_is_cloned_with_one_commit(clone, repository, room, shell):
    assert clone() == repository.last
    _, heard = shell(room, "cat file; echo; git rev-list --count HEAD; git branch --show-current; git status -s")
    assert heard.text.split() == ["three", "1", "main"]
    assert f"file://{repository.folder}" in shell(room, "git remote get-url origin")[1].text


@pytest.mark.parametrize(("ref", "content"), [("other", "other"), ("v1", "one"), ("main", "three")])
def test_a_branch_or_tag_is_checked_out(clone, room, shell, ref, content):
    clone(ref=ref, path="deep/er")
    assert shell(room, "cat deep/er/file")[1].text == content


def test_depth_0_brings_the_whole_history_and_other_depths_so_much(clone, room, shell):
    clone(depth=2)
    assert shell(room, "git rev-list --count HEAD")[1].text == "2\n"
    clone(depth=0)
    _, heard = shell(room, "git rev-list --count HEAD; git tag; git branch -r")
    assert heard.text.split() == ["3", "v1", "origin/main", "origin/other"]


def test_a_commit_is_checked_out_by_its_hash(clone, repository, room, shell):
    assert clone(commit=repository.first) == repository.first
    assert shell(room, "cat file")[1].text == "one"
    assert clone(commit=repository.other, depth=0) == repository.other


def test_a_clone_of_the_same_url_is_brought_up_to_date_and_reset(clone, repository, room, shell):
    clone()
    shell(room, "echo changed > file; git checkout -q -b mine; echo kept > untracked")
    newest = repository.commit("four")
    assert clone() == newest
    assert shell(room, "cat file; cat untracked")[1].text == "fourkept\n"


def test_hooks_and_monitors_left_in_a_clone_are_not_run(clone, room, shell):
    clone()
    shell(
        room,
        "for h in post-checkout reference-transaction post-merge; do"
        "  printf '#!/bin/sh\necho x > /workspace/hooked' > .git/hooks/$h; chmod +x .git/hooks/$h; done;"
        "mkdir -p .git/hooks; git config core.hooksPath .git/hooks; git config core.fsmonitor 'touch hooked;'",
    )
    clone()
    assert not RoomFiles(room).exists("hooked")


def test_a_folder_that_holds_anything_else_is_named(clone, room, shell):
    shell(room, "mkdir d; echo x > d/x")
    with pytest.raises(GitFailed, match='path: "d" is not empty and holds no clone'):
        clone(path="d")
    clone(path="e")
    shell(room, "git -C e config remote.origin.url https://example.org/b.git")
    with pytest.raises(GitFailed, match=r'path: "e" is a clone of https://example.org/b.git'):
        clone(path="e")


def test_paths_that_are_not_allowed_name_the_setting(clone, repository, tmp_path):
    link = tmp_path / "allowed" / "link"
    link.parent.mkdir()
    link.symlink_to(repository.folder)
    for url in (f"file://{link}", str(link), "/etc", f"file://{tmp_path}/allowed/../repository"):
        with pytest.raises(GitFailed, match="RIVET_ALLOW_PATHS"):
            clone(url, reach=ReachPolicy(allow_paths=(str(link.parent),)))
    with pytest.raises(GitFailed, match=r"\(none\)"):
        clone(reach=ReachPolicy())


def test_what_git_says_reaches_the_error_in_the_users_words(clone, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(GitFailed) as raised:
        clone(f"file://{tmp_path}/empty")
    assert f"{tmp_path}/empty" in str(raised.value)
    assert "/run/rivet" not in str(raised.value)
    with pytest.raises(GitFailed, match='has no branch or tag "nowhere"'):
        clone(ref="nowhere")
    with pytest.raises(GitFailed, match="there is no folder"):
        clone(f"file://{tmp_path}/nothing")


@pytest.mark.parametrize(
    "url", ["ssh://git@example.org/a.git", "git@example.org:a.git", "ext::sh -c x", "-u", "relative"]
)
def test_other_protocols_are_refused(clone, url):
    with pytest.raises(GitFailed, match=r"url: expected https"):
        clone(url)


@pytest.mark.parametrize("ref", ["a b", "a:b", "+a", "a..b", "*", "a~1", ".a", "a.lock", "a/"])
def test_odd_names_of_branches_are_refused_or_not_found(clone, ref):
    with pytest.raises(GitFailed, match="branch: "):
        clone(ref=ref)


def test_over_http_where_the_operator_allows_the_address(clone, repository, served, room, shell):
    url = f"http://127.0.0.1:{served}/repository/.git"
    allowed = ReachPolicy(allow_hosts=(f"127.0.0.1:{served}",))
    assert clone(url, reach=allowed) == repository.last
    assert clone(url, commit=repository.first, reach=allowed) == repository.first
    assert clone(url, ref="other", depth=0, reach=allowed) == repository.other
    assert shell(room, "git remote get-url origin")[1].text.strip() == url


def test_over_http_a_private_address_names_the_setting(clone, served):
    with pytest.raises(GitFailed, match=r"127\.0\.0\.1:\d+ is a loopback address.*RIVET_ALLOW_HOSTS"):
        clone(f"http://127.0.0.1:{served}/repository/.git")


def test_a_redirect_is_not_followed(clone, served):
    with pytest.raises(GitFailed, match="redirect"):
        clone(
            f"http://127.0.0.1:{served}/moved/.git", reach=ReachPolicy(allow_hosts=(f"127.0.0.1:{served}",))
        )


def test_credentials_in_a_url_are_refused_without_repeating_them(clone):
    with pytest.raises(GitFailed) as raised:
        clone("https://alice:hunter2@example.org/a.git")
    assert "hunter2" not in str(raised.value)


TOKEN = b"ghp_Zx81kQw04LmB7sTy5RvC2nXd9PfH3jUa"


def test_a_token_is_handed_over_and_left_nowhere(clone, repository, server, room, shell):
    server.wants = "Basic " + base64.b64encode(b"x-access-token:" + TOKEN).decode()
    url = f"http://127.0.0.1:{server.server_port}/repository/.git"
    allowed = ReachPolicy(allow_hosts=(f"127.0.0.1:{server.server_port}",))
    assert clone(url, reach=allowed, token=TOKEN + b"\n") == repository.last
    _, heard = shell(room, f"grep -rl {TOKEN.decode()} /workspace /home /tmp /run 2>/dev/null; echo searched")
    assert heard.text == "searched\n"
    with pytest.raises(GitFailed, match=r"git\.clone takes a token") as without:
        clone(url, path="second", reach=allowed)
    with pytest.raises(GitFailed, match="The token was not accepted") as refused:
        clone(url, path="third", reach=allowed, token=b"wrong-" + TOKEN)
    assert TOKEN.decode() not in f"{without.value} {refused.value}"


def test_a_clones_own_configuration_gets_hold_of_no_token(clone, repository, server, room, shell):
    server.wants = "Basic " + base64.b64encode(b"x-access-token:" + TOKEN).decode()
    url = f"http://127.0.0.1:{server.server_port}/repository/.git"
    allowed = ReachPolicy(allow_hosts=(f"127.0.0.1:{server.server_port}",))
    clone(url, reach=allowed, token=TOKEN)
    take = "!cat > /workspace/taken; cat /run/rivet/credential >> /workspace/taken; false"
    shell(
        room,
        f"git config credential.helper '{take}'; git config 'credential.{url}.helper' '{take}';"
        f"git config core.askPass /workspace/ask; git config core.alternateRefsCommand '{take[1:]}';"
        "git config core.sshCommand '/workspace/ask'; git config gc.auto 1; git config protocol.ext.allow always;"
        "git config 'url.ext::sh -c /workspace/ask #.insteadOf' 'nothing:';"
        "printf '#!/bin/sh\ncat /run/rivet/credential > /workspace/taken\n' > ask; chmod +x ask;"
        "git init -q --bare other.git; echo /workspace/other.git/objects > .git/objects/info/alternates",
    )
    newest = repository.commit("four")
    assert clone(url, reach=allowed, token=TOKEN) == newest
    server.wants = "Basic of somebody else"
    repository.commit("five")
    with pytest.raises(GitFailed):
        clone(url, reach=allowed, token=TOKEN)
    assert not RoomFiles(room).exists("taken")


@pytest.mark.parametrize("token", [b"", b"two\nlines", b"x" * 20_000, b"a\0b"])
def test_what_is_no_token_is_refused_without_repeating_it(clone, token):
    with pytest.raises(GitFailed, match="token: expected one line of text"):
        clone("http://127.0.0.1:1/a.git", reach=ReachPolicy(allow_hosts=("127.0.0.1",)), token=token)
    with pytest.raises(GitFailed, match="token: is for https and http"):
        clone(token=TOKEN)


def test_a_server_of_plain_files_is_cloned_whole(clone, repository):
    repository.git("update-server-info")

    class Files(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(repository.folder))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/.git"
        reach = ReachPolicy(allow_hosts=(f"127.0.0.1:{server.server_port}",))
        assert clone(url, reach=reach) == repository.last
        assert clone(url, commit=repository.first, path="second", reach=reach) == repository.first
    finally:
        server.shutdown()
        server.server_close()


def test_a_clone_can_be_cancelled(spec, repository):
    with pytest.raises(GitFailed, match="cancelled by alice"):
        fetch_git(
            f"file://{repository.folder}", None, None, 1, ".", spec=spec,
            reach=ReachPolicy(allow_paths=(str(repository.folder),)), on_output=lambda *_: None,
            stop=lambda: "cancelled by alice",
        )  # fmt: skip
