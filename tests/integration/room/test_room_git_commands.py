"""git in a clone of the workspace, and submodules: real repositories, real rooms."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rivet.modules.contract import CallError
from rivet.modules.git import ChangedFiles, Checkout, Describe, Log, RevParse
from rivet.runner.git import GitFailed, fetch_git
from rivet.runner.reach import ReachPolicy
from rivet.runner.room import Room
from rivet.runner.room_files import RoomFiles
from rivet.runner.stage_git import run_git


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Alice Ö", "-c", "user.email=alice@example.org", "-c", "protocol.file.allow=always")
    env = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], env=env, check=True, capture_output=True, text=True
    ).stdout.strip()


def repository(folder: Path, *commits: dict[str, str]) -> Path:
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    for number, files in enumerate(commits, 1):
        for name, text in files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", f"commit {number}", "-m", "with\na body")
    return folder


class Stage:
    """Runs git in one room."""

    def __init__(self, room: Room) -> None:
        self.room = room

    def run_git(self, title: str, path: str, arguments: list[str]) -> bytes:
        return run_git(title, path, arguments, self.room, lambda: None)


@pytest.fixture
def stage(room) -> Stage:
    return Stage(room)


@pytest.fixture
def clone(spec, tmp_path):
    def run(url: str | Path, **more: Any) -> str:
        url = f"file://{url}" if isinstance(url, Path) else url
        asked = {"ref": None, "commit": None, "depth": 0, "path": ".", **more}
        reach = ReachPolicy(allow_paths=(str(tmp_path / "allowed"),))
        return fetch_git(url, spec=spec, reach=reach, on_output=lambda *_: None, **asked)

    (tmp_path / "allowed").mkdir()
    return run


@pytest.fixture
def source(tmp_path, clone) -> Path:
    """Three commits on main, the second tagged v1, and a branch `other` that leaves main there."""
    made = repository(tmp_path / "allowed" / "source", {"a": "1"}, {"d/b": "2"}, {"a": "3"})
    git(made, "tag", "v1", "HEAD~1")
    git(made, "checkout", "-q", "-b", "other", "v1")
    (made / "new\nline é").write_text("x")
    git(made, "add", "-A")
    git(made, "commit", "-q", "-m", "other")
    git(made, "checkout", "-q", "main")
    return made


def call(declared: Any, stage: Stage, *args: Any) -> Any:
    return declared.bind(list(args)).act(stage)


def test_commits_are_named_checked_out_and_told(clone, source, stage, shell):
    head = clone(source)
    assert call(RevParse, stage) == call(RevParse, stage, "main") == head
    assert call(Describe, stage) == f"v1-1-g{head[:7]}"
    assert call(Checkout, stage, "v1") == git(source, "rev-parse", "v1^{commit}")
    assert call(Describe, stage) == "v1"
    shell(stage.room, "echo changed > a")
    assert call(Checkout, stage, "other") == git(source, "rev-parse", "other")
    assert shell(stage.room, "git branch --show-current; cat a")[1].text == "other\n1"
    told = call(Log, stage, {"count": 2, "ref": "main"})
    assert [entry["subject"] for entry in told] == ["commit 3", "commit 2"]
    assert told[0]["commit"] == head
    assert (told[1]["author"], told[1]["email"], told[1]["body"]) == ("Alice Ö", "alice@example.org", "with\na body")
    assert told[0]["at"] == int(git(source, "log", "-1", "--format=%at", "main"))
    assert len(call(Log, stage, {"path": "d"})) == 3


def test_changed_files_are_those_since_a_branch_was_left(clone, source, stage):
    clone(source, ref="other")
    assert call(ChangedFiles, stage, "main") == ["new\nline é"]
    assert call(ChangedFiles, stage, "HEAD~2") == ["d/b", "new\nline é"]
    assert call(ChangedFiles, stage, "other") == []


def test_a_shallow_clone_says_what_it_lacks(clone, source, stage):
    clone(source, ref="other", depth=1)
    with pytest.raises(CallError, match=r'git\.changed_files: the clone in "\." knows no commit "main"'):
        call(ChangedFiles, stage, "main")
    with pytest.raises(CallError, match='knows no commit "HEAD~1"; a clone of depth 1 has one only'):
        call(RevParse, stage, "HEAD~1")


@pytest.mark.parametrize("ref", ["--upload-pack=touch x", "-x", ""])
def test_a_ref_is_no_option(stage, ref):
    with pytest.raises(CallError, match="a name of 1 to 255 printable characters that does not begin with a dash"):
        call(Checkout, stage, ref)


def test_where_no_clone_is_that_is_said(stage):
    with pytest.raises(CallError, match=r'git\.describe: path: "\." is in no clone; git\.clone makes one'):
        call(Describe, stage)
    with pytest.raises(CallError, match=r'git.log: the folder "/workspace/no" to run "git" in cannot be entered'):
        call(Log, stage, {"path": "no"})


def test_what_a_workspace_sets_up_for_git_is_not_run(clone, source, stage, shell):
    clone(source)
    shell(
        stage.room,
        "printf '#!/bin/sh\\ntouch /workspace/hooked' > .git/hook; chmod +x .git/hook; mkdir .git/hooks;"
        "for h in post-checkout reference-transaction; do cp .git/hook .git/hooks/$h; done;"
        "git config core.fsmonitor /workspace/.git/hook; git config diff.external /workspace/.git/hook;"
        "git config core.pager /workspace/.git/hook; git config core.hooksPath .git/hooks",
    )
    call(Checkout, stage, "v1")
    call(ChangedFiles, stage, "HEAD~1")
    call(Log, stage)
    assert not RoomFiles(stage.room).exists("hooked")


def test_submodules_come_along_from_their_own_urls(clone, stage, shell, tmp_path):
    allowed = tmp_path / "allowed"
    inner = repository(allowed / "inner", {"i": "inner"})
    middle = repository(allowed / "middle", {"m": "middle"})
    git(middle, "submodule", "add", "-q", "../inner", "in")
    git(middle, "config", "-f", ".gitmodules", "submodule.in.url", "../inner")
    git(middle, "commit", "-q", "-am", "with inner")
    top = repository(allowed / "top", {"t": "top"})
    git(top, "submodule", "add", "-q", f"file://{middle}", "libs/mid")
    git(top, "commit", "-q", "-m", "with middle")
    for repeat in ("first", "again"):
        clone(top, submodules=True, depth=1, path="w")
        assert shell(stage.room, "cat w/t w/libs/mid/m w/libs/mid/in/i")[1].text == "topmiddleinner", repeat
    assert shell(stage.room, "cd w && git status --porcelain")[1].text == ""
    clone(top, path="plain")
    assert shell(stage.room, "ls plain/libs/mid")[1].text == ""
    assert inner.exists()


@pytest.mark.parametrize(
    ("path", "url", "words"),
    [
        ("sub", "file:///etc", r'submodules: "sub": "file:///etc" is not beneath a folder that this runner allows'),
        ("sub", "git@example.org:a.git", 'submodules: "sub": expected https'),
        ("../up", "file:///x", r'submodules: "\.\./up" is no path that a submodule may have'),
        (".git/hooks", "file:///x", "is no path that a submodule may have"),
    ],
)
def test_a_submodule_that_may_not_be_had_is_named(clone, source, path, url, words):
    git(source, "config", "-f", ".gitmodules", "submodule.x.path", path)
    git(source, "config", "-f", ".gitmodules", "submodule.x.url", url)
    git(source, "add", ".gitmodules")
    if path == "sub":
        git(source, "update-index", "--add", "--cacheinfo", f"160000,{git(source, 'rev-parse', 'HEAD')},sub")
    git(source, "commit", "-q", "-m", "bad")
    with pytest.raises(GitFailed, match=words):
        clone(source, submodules=True)


def test_a_path_that_leads_out_of_the_workspace_is_not_cloned_into(clone, source, stage, shell):
    shell(stage.room, "ln -s /tmp out")
    with pytest.raises(GitFailed, match='path: "out/x" cannot be cloned into: leads out'):
        clone(source, path="out/x")
