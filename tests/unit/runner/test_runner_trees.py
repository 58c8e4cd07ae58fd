"""Copies of trees: what they hold, what they share, and how a tree is brought back to what it was."""

import os
import socket
import stat
from pathlib import Path

import pytest

from rivet.runner.tree import MOST_DEPTH, Index, TooDeep, is_empty, is_still, look_at, size_of
from rivet.runner.tree_copy import plain_copy, put_back, take

BY_ROOT = os.geteuid() == 0


def told(tree: Path) -> dict[str, tuple[object, ...]]:
    """What is in a tree, as whoever works in it sees it."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(tree.rglob("*")):
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        found[str(path.relative_to(tree))] = (stat.filemode(status.st_mode), status.st_mtime_ns, content)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files, folders, links of both kinds, a pipe, and odd names and modes."""
    made = tmp_path / "tree"
    (made / "a" / "deep").mkdir(parents=True)
    (made / "a" / "one").write_text("one")
    (made / "a" / "deep" / "two").write_text("two")
    (made / "empty").mkdir(mode=0o500)
    (made / "run").write_text("#!/bin/sh")
    (made / "run").chmod(0o4755)
    (made / "link").symlink_to("a/one")
    (made / "nowhere").symlink_to("/nowhere/at/all")
    os.link(made / "a" / "one", made / "same")
    os.mkfifo(made / "pipe", 0o640)
    (made / os.fsdecode(b"\xff odd")).write_bytes(b"\0\xff")
    os.utime(made / "a", ns=(10**18, 10**18))
    return made


def inode(path: Path) -> int:
    return path.lstat().st_ino


def test_a_copy_is_as_the_tree_is(tree, tmp_path):
    index = take(tree, tmp_path / "copy")
    assert told(tmp_path / "copy") == told(tree)
    assert inode(tmp_path / "copy" / "same") == inode(tmp_path / "copy" / "a" / "one") != inode(tree / "same")
    assert index.copied == 3 + 3 + 9 + 2
    index.write(tmp_path / "index")
    assert Index.read(tmp_path / "index").nodes == index.nodes


def test_what_has_not_changed_is_linked_from_the_copy_before_and_never_from_the_tree(tree, tmp_path):
    first = take(tree, tmp_path / "1")
    (tree / "run").write_text("#!/bin/false")
    (tree / "new").write_text("new")
    second = take(tree, tmp_path / "2", tmp_path / "1", first)
    assert told(tmp_path / "2") == told(tree)
    assert second.copied == len("#!/bin/false") + len("new")
    for name in ("a/one", "a/deep/two"):
        assert inode(tmp_path / "2" / name) == inode(tmp_path / "1" / name) != inode(tree / name)
    assert inode(tmp_path / "2" / "run") != inode(tmp_path / "1" / "run")
    assert (tmp_path / "1" / "run").read_text() == "#!/bin/sh"


def test_a_file_written_over_at_once_with_as_many_bytes_is_seen_to_have_changed(tree, tmp_path):
    for number in range(30):
        before = tmp_path / f"{number}"
        index = take(tree, before)
        (tree / "a" / "one").write_text(f"{number:03}")
        assert not is_still(tree, index)
        take(tree, tmp_path / f"{number}.", before, index)
        assert (tmp_path / f"{number}." / "a" / "one").read_text() == f"{number:03}"


@pytest.mark.parametrize("anew", [False, True])
def test_a_tree_is_brought_back_to_what_it_was_whatever_was_done_in_it(tree, tmp_path, anew):
    index, was = take(tree, tmp_path / "copy"), told(tree)
    (tree / "a" / "one").write_text("changed")
    (tree / "a" / "deep" / "two").unlink()
    (tree / "run").chmod(0o600)
    (tree / "link").unlink()
    (tree / "link").mkdir()
    (tree / "link" / "in").write_text("in the way")
    (tree / "empty").rmdir()
    (tree / "empty").symlink_to("/")
    (tree / "more").mkdir()
    (tree / "more" / "x").write_text("x")
    target = tmp_path / "anew" if anew else tree
    found = put_back(tmp_path / "copy", index, target, None)
    assert told(target) == was
    assert is_still(target, found)
    assert told(tmp_path / "copy") == was


def test_what_stayed_as_it_was_is_left_alone(tree, tmp_path):
    index = take(tree, tmp_path / "copy")
    before = inode(tree / "a" / "deep" / "two")
    (tree / "run").write_text("other")
    found = put_back(tmp_path / "copy", index, tree, None)
    assert (inode(tree / "a" / "deep" / "two"), found.copied) == (before, len("#!/bin/sh"))
    again = take(tree, tmp_path / "next", tmp_path / "copy", found)
    assert again.copied == 0


def test_what_was_the_owner_s_is_the_new_owner_s_where_root_copies(tree, tmp_path):
    owner, other, new = (4711, 0, 4712) if BY_ROOT else (os.geteuid(),) * 3
    for path in (tree, *tree.rglob("*")):
        os.chown(path, owner, -1, follow_symlinks=False)
    os.chown(tree / "run", other, -1)
    (tree / "run").chmod(0o4755)
    index = take(tree, tmp_path / "copy")
    assert (tmp_path / "copy" / "link").lstat().st_uid == owner
    for target in (tree, tmp_path / "anew"):
        put_back(tmp_path / "copy", index, target, new if BY_ROOT else None)
        owners = {str(path.relative_to(target)): path.lstat().st_uid for path in target.rglob("*")}
        assert (owners.pop("run"), set(owners.values()), target.lstat().st_uid) == (other, {new}, new)
        assert stat.S_IMODE((target / "run").stat().st_mode) == 0o4755


def test_sockets_are_left_out_and_holes_stay_holes(tmp_path, monkeypatch):
    tree = tmp_path / "t"
    tree.mkdir()
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
    with (tree / "sparse").open("wb") as file:
        file.seek(64 * 1024 * 1024)
        file.write(b"end")
    index = take(tree, tmp_path / "copy")
    assert (index.left_out, list(index.nodes)) == (1, ["", "sparse"])
    assert (tmp_path / "copy" / "sparse").stat().st_size == 64 * 1024 * 1024 + 3
    assert size_of(tmp_path / "copy") < 1024 * 1024
    assert is_still(tree, index)


def test_a_link_is_never_followed(tmp_path):
    outside, tree = tmp_path / "outside", tmp_path / "tree"
    outside.mkdir()
    (outside / "theirs").write_text("theirs")
    tree.mkdir()
    (tree / "way").mkdir()
    (tree / "way" / "mine").write_text("mine")
    index = take(tree, tmp_path / "copy")
    (tree / "way" / "mine").unlink()
    (tree / "way").rmdir()
    (tree / "way").symlink_to(outside)
    put_back(tmp_path / "copy", index, tree, None)
    assert not (tree / "way").is_symlink()
    assert [path.name for path in outside.iterdir()] == ["theirs"]
    plain_copy(tree, tmp_path / "plain", None)
    assert told(tmp_path / "plain") == told(tree)


def test_an_empty_tree_is_known_at_a_look(tree, tmp_path):
    (tmp_path / "e").mkdir()
    assert is_empty(tmp_path / "e")
    assert not is_empty(tree)


def test_folders_too_deep_are_refused(tmp_path):
    deep = tmp_path / "tree"
    deep.mkdir()
    inner = deep
    for _ in range(MOST_DEPTH + 2):
        inner = inner / "d"
        inner.mkdir()
    for refused in (lambda: take(deep, tmp_path / "copy"), lambda: look_at(deep)):
        with pytest.raises(TooDeep):
            refused()
