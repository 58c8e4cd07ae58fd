"""What of a stranger's text reaches a terminal."""

import pytest

from rivet.cli.text import duration, harmless, raw, seconds, shown
from rivet.domain.log import encode_line


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"plain, with \xc3\xa4 and a\ttab", "plain, with ä and a\ttab"),
        (b"\x1b[1;31mred\x1b[0m and \x1b[38:5:1mblue", "red and blue"),
        (b"title \x1b]0;mine\x07 end", "title \\x1b]0;mine\\x07 end"),
        (b"clear \x1bc\x1b[2J", "clear \\x1bc"),
        (b"10 %\r50 %\r100 %\r", "100 %"),
        (b"bytes \xff\xfe", "bytes \\xff\\xfe"),
        ("right to left \u202e here".encode(), "right to left \\u202e here"),
        ("the escape's own \uf741".encode(), "the escape's own \uf741"),
    ],
)
def test_no_line_of_a_log_steers_the_terminal(line: bytes, expected: str) -> None:
    assert shown(encode_line(line)) == expected


def test_raw_gives_the_very_bytes() -> None:
    line = b"\x1b[31m\xff\xf0 \xef\x9c\x80 end\r"
    assert raw(encode_line(line)) == line


def test_line_feeds_of_a_message_are_kept() -> None:
    assert harmless("one\ntwo\x1b") == "one\ntwo\\x1b"


def test_durations_are_in_words() -> None:
    assert [seconds(value) for value in (0, 0.04, 9.94, 9.96, 59.4, 60, 3599, 3600, 7384)] == [
        *("0.0 s", "0.0 s", "9.9 s", "10 s", "59 s"),
        *("1 min 0 s", "59 min 59 s", "1 h 0 min", "2 h 3 min"),
    ]
    assert duration("2026-01-01T00:00:00.000Z", "2026-01-01T00:01:05.200Z") == "1 min 5 s"
    assert duration(None, None) == ""
    assert duration("nonsense", None) == ""
