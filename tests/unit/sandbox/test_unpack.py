"""Archives of strangers: whatever they hold, nothing is made outside of the folder they are unpacked in."""

import io
import os
import tarfile

import pytest

from rivet.sandbox.unpack import Wrong, unpack_file, unpack_tar


def a_tar(*members):
    """Of `(name, content)`: a text is a file, `("->", target)` a link, `("=", target)` a hard link, None a folder."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            match content:
                case None:
                    member.type = tarfile.DIRTYPE
                case ("->", target):
                    member.type, member.linkname = tarfile.SYMTYPE, target
                case ("=", target):
                    member.type, member.linkname = tarfile.LNKTYPE, target
                case ("device",):
                    member.type = tarfile.CHRTYPE
                case _:
                    member.size, member.mode = len(content), 0o6755
            tar.addfile(member, io.BytesIO(content.encode()) if isinstance(content, str) else None)
    packed.seek(0)
    return packed


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "outside").write_text("mine")
    return tmp_path / "in"


@pytest.mark.parametrize(
    "members",
    [
        [("../outside", "x")],
        [("a/../../outside", "x")],
        [("/tmp/outside-of-all", "x")],
        [("a", ("=", "../outside"))],
        [("a", ("device",))],
        [("there/a", "x")],
        [("there", "x")],
        [("a", None), ("a", "x")],
    ],
)
def test_what_leads_out_or_is_no_file_is_refused(folder, members):
    (folder / "there").mkdir() if members[0][0] == "there" else (folder / "there").symlink_to("..")
    with pytest.raises(Wrong):
        unpack_tar(a_tar(*members), {"": str(folder)})
    assert (folder.parent / "outside").read_text() == "mine"
    assert sorted(os.listdir(folder.parent)) == ["in", "outside"]


def test_a_link_of_the_archive_is_not_gone_through_by_what_comes_after_it(folder):
    with pytest.raises(Wrong, match='"way" is a folder already'):
        unpack_tar(a_tar(("way", ("->", "..")), ("way/outside", "x")), {"": str(folder)})
    assert (folder.parent / "outside").read_text() == "mine"


def test_links_that_lead_out_are_kept_only_where_that_is_wanted(folder):
    members = [("d/in", ("->", "../f")), ("out", ("->", "../outside")), ("f", "x")]
    with pytest.raises(Wrong, match="is a link that leads out"):
        unpack_tar(a_tar(*members), {"": str(folder)}, keep_links=False)
    assert unpack_tar(a_tar(*members), {"": str(folder)}) == 3
    assert (folder / "d/in").read_text() == "x"


def test_a_file_takes_the_place_of_a_link_and_gets_no_powers(folder):
    (folder / "f").symlink_to("../outside")
    unpack_tar(a_tar(("f", "new")), {"": str(folder)})
    assert not (folder / "f").is_symlink()
    assert (folder / "f").stat().st_mode & 0o7777 == 0o755
    assert (folder.parent / "outside").read_text() == "mine"


def test_only_what_was_wanted_is_unpacked_below_its_own_folder(folder, tmp_path):
    (tmp_path / "home").mkdir()
    places = {"workspace": str(folder), "home": str(tmp_path / "home")}
    members = [("workspace/a/x", "1"), ("workspace/ab", "2"), ("home/.c/y", "3"), ("home/z", "4")]
    assert unpack_tar(a_tar(*members), places, wanted=["workspace/a", "home/.c"]) == 2
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*")) if path.is_file()] == [
        "home/.c/y", "in/a/x", "outside"
    ]  # fmt: skip


def test_a_stream_that_ends_too_early_leaves_no_half_of_a_file(folder):
    with pytest.raises(Wrong, match="ends 5 bytes too early"):
        unpack_file(io.BytesIO(b"12345"), str(folder), "deep/f", 10)
    assert os.listdir(folder / "deep") == []
    whole = a_tar(("a", "x" * 5000)).getvalue()
    with pytest.raises(Wrong):
        unpack_tar(io.BytesIO(whole[:2000]), {"": str(folder)})
    assert os.listdir(folder) == ["deep"]


def test_several_tars_are_unpacked_exactly_and_the_later_stands_for_the_earlier(folder, tmp_path):
    def packed(made):
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, kind, mode, mtime, text in made:
                member = tarfile.TarInfo(name)
                member.type, member.mode, member.mtime, member.size = kind, mode, mtime, len(text)
                if kind == tarfile.SYMTYPE:
                    member.linkname, member.size = text, 0
                tar.addfile(member, io.BytesIO(text.encode()))
        return out.getvalue()

    first = packed([
        ("d", tarfile.DIRTYPE, 0o550, 1000.25, ""), ("d/a", tarfile.REGTYPE, 0o640, 2000.5, "1"),
        ("b", tarfile.SYMTYPE, 0o777, 0, "d/a"), ("c", tarfile.REGTYPE, 0o600, 1, "old"),
    ])  # fmt: skip
    second = packed([("b", tarfile.REGTYPE, 0o600, 1, "2"), ("c", tarfile.REGTYPE, 0o600, 1, "new")])
    assert unpack_tar(io.BytesIO(first + second), {"": str(folder)}, exactly=True) == 5
    found = os.stat(folder / "d")
    assert (found.st_mode & 0o777, found.st_mtime) == (0o550, 1000.25)
    assert (os.stat(folder / "d/a").st_mode & 0o777, os.stat(folder / "d/a").st_mtime) == (0o640, 2000.5)
    assert [(folder / name).read_text() for name in ("b", "c")] == ["2", "new"]
    assert not (folder / "b").is_symlink()
