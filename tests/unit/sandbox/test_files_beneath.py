"""Files beneath a root: with the kernel's own check of every step, and with ours where it has none."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rivet.sandbox import files
from rivet.sandbox.file_search import glob, matches
from rivet.sandbox.file_trees import copy, remove


@contextlib.contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """What is done within is refused by one of these numbers."""
    told = None
    try:
        yield
    except OSError as error:
        told = error.errno
    assert told in numbers


@pytest.fixture(params=["openat2", "checked"])
def root(request, tmp_path: Path, monkeypatch) -> Path:
    """A root with a file outside of it and links that lead there; `checked` has no openat2."""
    made = tmp_path / "root"
    made.mkdir()
    (tmp_path / "outside").write_text("secret")
    (made / "up").symlink_to("../outside")
    (made / "absolute").symlink_to(tmp_path / "outside")
    (made / "folder_up").symlink_to("..")
    (made / "circle").symlink_to("circle")
    (made / "d").mkdir()
    (made / "d" / "f").write_bytes(b"a\0\xff")
    (made / "within").symlink_to("d/f")
    monkeypatch.setattr(files, "ROOT", os.fsencode(made))
    if request.param == "checked":
        monkeypatch.setattr(files, "OPENAT2", 100_000)
    return made


@pytest.mark.parametrize("path", [b"up", b"absolute", b"folder_up/outside"])
def test_a_link_that_leads_out_is_not_followed(root, path):
    for work in (lambda: files.read(path, 100), lambda: files.write(path, b"", 0o644, False)):
        with refused(files.OUTSIDE, files.NO_LINKS):
            work()
    assert (root.parent / "outside").read_text() == "secret"


def test_neither_folders_nor_renames_nor_removals_get_out(root):
    for work in (
        lambda: files.names(b"folder_up"),
        lambda: files.mkdir(b"folder_up/new"),
        lambda: files.move(b"d", b"folder_up/d"),
        lambda: files.move(b"folder_up/outside", b"x"),
        lambda: remove(b"folder_up/outside"),
        lambda: copy(b"folder_up/outside", b"x"),
        lambda: copy(b"d", b"folder_up/d"),
        lambda: files.stat(b"folder_up/outside"),
    ):
        with refused(files.OUTSIDE):
            work()
    assert sorted(os.listdir(root.parent)) == ["outside", "root"]


def test_links_within_and_any_bytes_are_fine(root):
    assert files.read(b"within", 3) == (3, b"a\0\xff")
    files.write(b"d/new", b"\xff\0" * 700_000, 0o600, False)
    files.write(b"d/new", b"end", 0o600, True)
    assert (root / "d" / "new").read_bytes() == b"\xff\0" * 700_000 + b"end"
    files.write(b"d/new", b"short", 0o600, False)
    assert (root / "d" / "new").read_bytes() == b"short"


def test_what_is_no_file_is_neither_read_nor_waited_for(root):
    os.mkfifo(root / "pipe")
    for path, number in ((b"pipe", files.NO_FILE), (b"d", files.IS_FOLDER), (b"circle", files.NO_LINKS)):
        with refused(number):
            files.read(path, 100)
    with refused(files.TOO_LARGE):
        files.read(b"within", 2)


def test_stat_tells_of_the_link_itself_and_nothing_of_nothing(root):
    mode, told = files.stat(b"up")
    assert (mode & files.KIND, told.split(b" ")[2]) == (files.LINK, b"../outside")
    assert files.stat(b"d/nothing") == files.stat(b"nothing/deep") == files.stat(b"d/f/deep") == (0, b"")


def test_folders_are_made_with_those_above_them(root):
    files.mkdir(b"a/b/c")
    files.mkdir(b"a/b")
    assert (root / "a" / "b" / "c").is_dir()
    with pytest.raises(NotADirectoryError):
        files.mkdir(b"d/f/g")


def test_more_names_than_can_be_told_are_refused(root, monkeypatch):
    monkeypatch.setattr(files, "MOST_LISTED", 5)
    with refused(files.TOO_MANY):
        files.names(b".")
    with refused(files.TOO_MANY):
        glob(b"5", b"**")


def test_a_copy_has_contents_permissions_and_links(root):
    (root / "d" / "f").chmod(0o750)
    (root / "d" / "link").symlink_to("f")
    copy(b"d", b"e")
    assert (root / "e" / "f").read_bytes() == b"a\0\xff"
    assert (root / "e" / "f").stat().st_mode & 0o777 == 0o750
    assert os.readlink(root / "e" / "link") == "f"


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [(b"d", b"d/inner", files.ITSELF), (b"d/f", b"d", files.EXISTS), (b"d", b"up", files.EXISTS),
     (b"nothing", b"x", files.NOT_FOUND), (b"d/f", b"d/f", files.ITSELF)],
)
def test_copies_that_make_no_sense_are_refused(root, source, target, number):
    with refused(number):
        copy(source, target)


def test_what_cannot_be_entered_is_removed_all_the_same_and_links_are_not_followed(root, capfd):
    (root / "d" / "inner").mkdir()
    (root / "d" / "inner" / "x").write_text("")
    (root / "d" / "inner").chmod(0)
    (root / "d" / "out").symlink_to(root.parent)
    remove(b"d")
    remove(b"up")
    remove(b"nothing")
    assert capfd.readouterr().out == "gonegonenothing"
    assert sorted(os.listdir(root)) == ["absolute", "circle", "folder_up", "within"]
    assert (root.parent / "outside").exists()


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*.py", ["a.py", ".py"], ["a.pyc", "py"]),
        ("a*b*c", ["abc", "aXbYc", "abbcc"], ["ab", "acb"]),
        ("?", ["a"], ["", "ab"]),
        ("[a-c]x", ["ax", "cx"], ["dx", "x"]),
        ("[!a-c]x", ["dx"], ["ax"]),
        ("[]]", ["]"], ["["]),
        ("[", ["["], ["]"]),
        ("plain.txt", ["plain.txt"], ["plainxtxt"]),
        ("*", ["a", ".a", "a b"], []),
        ("", [], ["a"]),
    ],
)
def test_a_pattern_means_these_names_and_not_those(pattern, names, others):
    assert all(matches(pattern.encode(), name.encode()) for name in names)
    assert not any(matches(pattern.encode(), name.encode()) for name in others)


def test_a_pattern_of_many_stars_is_decided_at_once():
    assert not matches(b"*a" * 30 + b"b", b"a" * 5000)
