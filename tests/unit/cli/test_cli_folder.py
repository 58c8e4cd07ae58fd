"""What `--folder` packs: what git does not ignore, always the same way."""

import io
import os
import shutil
import subprocess
import tarfile

import pytest
import zstandard

from rivet.cli import folder
from rivet.cli.failures import Failed


def packed(top):
    into = io.BytesIO()
    digest, size = folder.pack(top, into)
    assert size == len(into.getvalue())
    tar = zstandard.ZstdDecompressor().decompressobj().decompress(into.getvalue())
    with tarfile.open(fileobj=io.BytesIO(tar)) as opened:
        return digest, {member.name: member for member in opened.getmembers()}


def git(top, *arguments):
    identity = ("-c", "user.name=Alice", "-c", "user.email=alice@rivet.test")
    subprocess.run(["git", "-C", str(top), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def tree(tmp_path):
    top = tmp_path / "tree"
    (top / "src").mkdir(parents=True)
    (top / "src" / "a.py").write_text("print(1)\n")
    (top / "run.sh").write_text("#!/bin/sh\n")
    (top / "run.sh").chmod(0o700)
    (top / "link").symlink_to("src/a.py")
    return top


def test_of_a_work_tree_goes_what_is_tracked_or_new_and_not_ignored(tree):
    git(tree, "init", "-q")
    (tree / ".gitignore").write_text("*.log\n")
    (tree / "gone.txt").write_text("x")
    git(tree, "add", ".")
    git(tree, "commit", "-qm", "first")
    (tree / "gone.txt").unlink()
    (tree / "src" / "new.py").write_text("print(2)\n")
    (tree / "noise.log").write_text("x")
    assert set(packed(tree)[1]) == {".gitignore", "link", "run.sh", "src/a.py", "src/new.py"}
    assert set(packed(tree / "src")[1]) == {"a.py", "new.py"}


def test_of_a_work_tree_within_goes_what_git_lists_there(tree):
    git(tree, "init", "-q")
    inner = tree / "vendor"
    inner.mkdir()
    git(inner, "init", "-q")
    (inner / "b.py").write_text("")
    (inner / ".gitignore").write_text("*.o\n")
    (inner / "b.o").write_text("")
    assert {name for name in packed(tree)[1] if name.startswith("vendor")} == {"vendor/.gitignore", "vendor/b.py"}


def test_of_another_folder_goes_everything(tree):
    (tree / "empty").mkdir()
    (tree / ".hidden").write_text("x")
    members = packed(tree)[1]
    assert set(members) == {".hidden", "empty", "link", "run.sh", "src", "src/a.py"}
    assert (members["run.sh"].mode, members["src/a.py"].mode) == (0o755, 0o644)
    assert members["link"].linkname == "src/a.py"
    assert {member.uid for member in members.values()} == {0}


def test_the_digest_depends_on_what_is_in_the_folder_alone(tree, tmp_path):
    copy = shutil.copytree(tree, tmp_path / "copy", symlinks=True)
    os.utime(copy / "run.sh", (1, 1))
    assert packed(copy)[0] == packed(tree)[0]
    (copy / "src" / "a.py").write_text("print(2)\n")
    assert packed(copy)[0] != packed(tree)[0]


def test_names_that_are_no_text_are_packed_as_they_are(tree):
    (tree / os.fsdecode(b"caf\xe9")).write_text("x")
    assert os.fsdecode(b"caf\xe9") in packed(tree)[1]


def test_a_folder_that_is_too_large_is_refused_with_the_way_out(tree, monkeypatch):
    monkeypatch.setattr(folder, "MOST_BYTES", 1000)
    (tree / "noise").write_bytes(os.urandom(5000))
    with pytest.raises(Failed, match="gitignore"):
        packed(tree)


def test_a_folder_that_is_not_there_is_said_so(tmp_path):
    with pytest.raises(Failed, match="no such folder"):
        folder.upload_folder(None, "default", str(tmp_path / "nothing"))
