"""Files of the workspace through a room's agent: what may take long is found, hashed, copied and removed there."""

import hashlib
import time

import pytest

from rivet.modules.contract import CallError
from rivet.runner.room import RoomLost
from rivet.runner.room_files import RoomFiles
from rivet.runner.stage_files import StageFiles


@pytest.fixture
def files(room) -> RoomFiles:
    return RoomFiles(room)


def told(raised) -> str:
    return str(raised.value)


def test_files_are_written_read_listed_and_described(files, room, shell):
    files.mkdir("d/deep")
    files.write("d/f", b"\0\xff" * 4, 0o755)
    files.write("d/f", b"end", appends=True)
    shell(room, "ln -s /etc link; printf x > 'd/new\nline'; printf y > \"d/$(printf '\\377')\"")
    found = files.stat("d/f")
    assert (found.kind, found.size, found.mode) == ("file", 11, 0o755)
    assert abs(found.changed_at - time.time()) < 60
    assert (files.stat("link").kind, files.stat("link").target) == ("link", "/etc")
    assert files.stat("nothing") is None
    assert files.list("d") == ["deep", "f", "new\nline", "\udcff"]
    assert files.read("d/\udcff") == b"y"
    assert files.read("d/f") == b"\0\xff" * 4 + b"end"


def test_eight_megabytes_pass_in_one_piece_and_no_more(files, room, shell):
    whole = bytes(range(256)) * (8 * 4096 - 16)
    files.write("big", whole)
    assert files.read("big") == whole
    shell(room, "echo more >> big")
    with pytest.raises(OSError, match="too large"):
        files.read("big")


def test_globs_find_what_they_mean_in_order(files, room, shell):
    shell(
        room,
        "mkdir -p src/a/b .git/objects docs; touch src/x.py src/a/y.py src/a/b/z.py src/a/z.txt .git/k.py top.py;"
        "touch docs/.hidden; ln -s / src/root; ln -s ../docs src/docs",
    )
    assert files.glob(["**/*.py"]) == ["src/a/b/z.py", "src/a/y.py", "src/x.py", "top.py"]
    assert files.glob(["src/*/*.py", "*.py", "src/./x.py"]) == ["src/a/y.py", "src/x.py", "top.py"]
    assert files.glob(["docs/**"]) == ["docs/.hidden"]
    assert files.glob([".git/*.py"]) == [".git/k.py"]
    assert files.glob(["src/docs/*", "src/root/*"]) == []
    assert files.glob(["src/**/b/**/z.*"]) == ["src/a/b/z.py"]
    assert files.glob(["src/**"])[:2] == ["src/a", "src/a/b"]
    assert files.glob(["nothing/**", "top.py/x"]) == []


def test_a_digest_counts_paths_and_contents_and_nothing_else(files, room, shell):
    shell(room, "mkdir -p a; echo one > a/x; echo two > y; ln -s x a/link")
    first = files.digest(["**"])
    content = b"".join(
        b"%b %d %b\0%b" % (kind, len(path), path, hashlib.sha256(held).digest())
        for kind, path, held in
        ((b"link", b"a/link", b"x"), (b"file", b"a/x", b"one\n"), (b"file", b"y", b"two\n"))
    )
    assert first == hashlib.sha256(content).hexdigest()
    shell(room, "touch -d 2000-01-01 y; chmod 600 y; mkdir empty")
    assert files.digest(["y", "**"]) == first
    shell(room, "echo three > y")
    assert files.digest(["**"]) != first
    assert files.digest(["empty/**"]) is None


def test_trees_are_copied_moved_and_removed(files, room, shell):
    shell(room, "mkdir -p a/b; head -c 3000000 /dev/urandom > a/b/f; chmod 700 a/b/f; ln -s b/f a/l; sha256sum < a/l > sum")
    files.copy("a", "c")
    files.move("a/b", "moved")
    assert files.remove("a")
    assert not files.remove("a")
    assert shell(room, "sha256sum < c/l | cmp - sum && sha256sum < moved/f | cmp - sum && ls c")[1].text == "b\nl\n"


def test_a_deep_tree_is_worked_on_like_any_other(files, room, shell):
    shell(room, "mkdir -p $(printf 'd/%.0s' $(seq 1200))")
    assert len(files.glob(["d/**"])) == 1199
    files.copy("d", "e")
    assert files.remove("e")
    assert files.remove("d")


def test_long_work_is_stopped_when_the_stage_is(room, shell):
    shell(room, "truncate -s 100G huge")
    begun = time.monotonic()
    files = RoomFiles(room, lambda: "cancelled" if time.monotonic() - begun > 0.3 else None)
    with pytest.raises(InterruptedError):
        files.digest(["huge"])
    assert time.monotonic() - begun < 3
    with pytest.raises(RoomLost):
        room.kill() or files.list(".")


def test_errors_name_the_call_the_path_and_the_way_out(files, room, shell):
    shell(room, "mkdir d; ln -s / out")
    call = StageFiles(files, "fs.try", lambda: None, bytes)
    cases = {
        lambda: call.read("no"): 'fs.try: there is nothing at "no" in the workspace',
        lambda: call.write("no/x", b""): 'fs.try: the folder of "no/x" is not there; fs.mkdir makes it',
        lambda: call.read("d"): 'fs.try: "d" is a folder; expected a file',
        lambda: call.list("out"): 'fs.try: "out" leads out of the workspace by a link',
        lambda: call.move("d", "d/e"): 'fs.try: "d to d/e" cannot be brought to a place within itself',
        lambda: call.write("d", b""): 'fs.try: "d" is a folder; expected a file',
        lambda: call.read("x" * 300): "File name too long",
    }
    for work, words in cases.items():
        with pytest.raises(CallError) as raised:
            work()
        assert words in told(raised)
