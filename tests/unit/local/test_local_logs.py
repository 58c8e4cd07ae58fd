"""Log files stay bounded while their writers keep them open."""

from pathlib import Path

from rivet.local.logs import KEPT, last_lines, rotate


def test_a_small_log_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_text("x" * 100)
    assert not rotate(log, max_bytes=100)
    assert log.read_text() == "x" * 100


def test_a_writer_goes_on_in_the_emptied_file(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    with log.open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 50)
        assert rotate(log, max_bytes=100)
        writer.write(b"new\n")
    assert log.read_text() == "new\n"
    assert (tmp_path / "api.log.1").read_text() == "old\n" * 50


def test_only_so_many_old_ones_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    for number in range(KEPT + 3):
        log.write_text(f"{number}" * 200)
        assert rotate(log, max_bytes=100)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "api.log",
        *(f"api.log.{n}" for n in (1, 2, 3)),
    ]
    assert (tmp_path / "api.log.1").read_text()[0] == str(KEPT + 2)


def test_last_lines_are_harmless_and_from_the_right_place(tmp_path: Path) -> None:
    log = tmp_path / "api.log"
    log.write_bytes(b"before\n\x1b[31mone\n\xfftwo\n")
    assert last_lines(log, 5, since=7) == ["[31mone", "\N{REPLACEMENT CHARACTER}two"]
    assert last_lines(tmp_path / "none", 5) == []
