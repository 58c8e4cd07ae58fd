"""Commands in a room: how they start, write, end and are ended."""

import contextlib
import resource
import time

import pytest

from rivet.runner.room import CannotStart, RoomLost, RoomOver
from rivet.runner.room_files import RoomFiles


def test_exit_code_and_both_streams_come_back(room, shell):
    ended, heard = shell(room, "echo out; echo err >&2; exit 3")
    assert (ended.exit_code, ended.ended_by, ended.signal) == (3, None, None)
    assert (heard.text, heard.errors) == ("out\n", "err\n")
    assert 0 < ended.seconds < 10


def test_a_signal_is_told_as_shells_tell_it(room, shell):
    ended, _ = shell(room, "kill -SEGV $$")
    assert (ended.exit_code, ended.signal) == (139, 11)


def test_standard_input_is_given_whole_or_is_empty(room, shell):
    content = b"line\n" * 400_000
    assert shell(room, "wc -c", stdin=content)[1].text.strip() == str(len(content))
    assert shell(room, "wc -c")[1].text.strip() == "0"


def test_environment_arguments_and_folder_reach_the_command_untouched(room, shell):
    shell(room, "mkdir -p sub/dir")
    heard = []
    room.run(
        ["/bin/sh", "-c", 'printf "%s|" "$@" "$VALUE" "$PWD"', "sh", "a b", "", "ü\n$(x)"],
        env={"VALUE": "x=y \udcff"},
        cwd="sub/dir",
        on_output=lambda _, data: heard.append(data),
    )
    assert b"".join(heard) == "a b||ü\n$(x)|".encode() + b"x=y \xff|/workspace/sub/dir|"


def test_path_prepend_comes_before_the_tools(room, shell):
    shell(room, "mkdir bin; printf '#!/bin/sh\necho mine\n' > bin/ls; chmod +x bin/ls")
    _, heard = shell(room, "ls; echo $PATH_PREPEND", env={"PATH_PREPEND": "/workspace/bin"})
    assert heard.text == "mine\n\n"


@pytest.mark.parametrize(
    ("argv", "cwd", "words"),
    [
        (["no-such-command"], ".", ['"no-such-command" was not found in PATH (/usr/local/bin', "doctor"]),
        (["./no-such-file"], ".", ['command "./no-such-file" was not found']),
        (["/etc/hosts"], ".", ['"/etc/hosts" is not an executable file']),
        (["./bad"], ".", ["the interpreter that its first line names"]),
        (["./empty"], ".", ["neither a program nor a script"]),
        (["true"], "nowhere", ['the folder "/workspace/nowhere"', "cannot be entered"]),
        (["true", "x" * 3_000_000], ".", ["more arguments"]),
        (["true", "nul\0"], ".", ["NUL"]),
    ],
)
def test_what_cannot_be_started_says_why(room, shell, argv, cwd, words):
    shell(room, "printf '#!/no/such\n' > bad; printf 'x' > empty; chmod +x bad empty")
    with pytest.raises(CannotStart) as raised:
        room.run(argv, env={}, cwd=cwd, on_output=lambda *_: None)
    for word in words:
        assert word in str(raised.value)
    assert shell(room, "echo fine")[1].text == "fine\n"


def test_what_is_left_running_with_the_pipe_is_not_waited_for(room, shell):
    begun = time.monotonic()
    ended, heard = shell(room, "echo before; sleep 20 & echo after")
    assert time.monotonic() - begun < 5
    assert (ended.exit_code, heard.text) == (0, "before\nafter\n")


def test_what_is_left_running_goes_on_and_may_go_on_writing(room, shell):
    shell(room, "(while sleep 0.02; do echo more; echo x >> count; done) &")
    first = int(shell(room, "sleep 0.3; wc -l < count")[1].text)
    second = int(shell(room, "sleep 0.3; wc -l < count")[1].text)
    assert second > first > 0


def test_output_that_never_ends_of_something_left_running_does_not_hold_the_command(room, shell):
    begun = time.monotonic()
    shell(room, "yes & sleep 0.2")
    assert time.monotonic() - begun < 10


def test_a_hundred_megabytes_flow_with_bounded_memory(room, shell):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = {"stdout": 0, "stderr": 0}

    def count(stream: str, data: bytes) -> None:
        sizes[stream] += len(data)

    ended = room.run(["head", "-c", "100000000", "/dev/zero"], env={}, on_output=count, timeout_s=60)
    assert ended.exit_code == 0
    assert sizes == {"stdout": 100_000_000, "stderr": 0}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_a_stop_ends_a_command_that_listens_within_a_second(room, shell):
    begun = time.monotonic()
    stop = lambda: "cancelled by alice" if time.monotonic() - begun > 0.3 else None  # noqa: E731
    ended, _ = shell(room, "sleep 60", stop=stop)
    assert (ended.ended_by, ended.reason, ended.signal) == ("stop", "cancelled by alice", 15)
    assert time.monotonic() - begun < 1.3


def test_a_stop_lets_others_in_the_room_end_well_too(room, shell):
    line = "trap 'sleep 0.2; echo well > ended; exit' TERM; while :; do sleep 0.02; done"
    shell(room, f"({line}) >/dev/null 2>&1 &")
    shell(room, "sleep 0.2")
    shell(room, "sleep 60", stop=lambda: "cancelled")
    assert RoomFiles(room).stat("ended") is not None


def test_who_ignores_term_is_killed_after_the_grace(room, shell):
    line = "trap '' TERM; : > deaf; while :; do sleep 0.05; done"
    begun = time.monotonic()
    stop = lambda: "cancelled" if time.monotonic() - begun > 0.4 else None  # noqa: E731
    ended, _ = shell(room, line, stop=stop, grace_s=0.5)
    assert RoomFiles(room).exists("deaf")
    assert (ended.ended_by, ended.signal) == ("stop", 9)
    assert 0.5 <= time.monotonic() - begun < 4


def test_a_timeout_ends_the_command_and_what_it_started_and_nothing_else(room, shell):
    shell(room, "(while sleep 0.05; do :; done) >/dev/null 2>&1 & echo $! > other")
    ended, _ = shell(room, "sleep 77 & sleep 78", timeout_s=0.4)
    assert (ended.ended_by, ended.signal) == ("timeout", 15)
    _, heard = shell(room, "kill -0 $(cat other) && echo other lives; ps ax | grep -c '[s]leep 7[78]'")
    assert heard.text == "other lives\n0\n"


def test_an_error_while_reading_ends_the_command(room, shell):
    def broken(_stream: str, _data: bytes) -> None:
        raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        room.run(["/bin/sh", "-c", "while :; do echo x; sleep 0.01; done"], env={}, on_output=broken)
    deadline = time.monotonic() + 5
    while "echo x" in shell(room, "cat /proc/[0-9]*/cmdline")[1].text.replace("cat", ""):
        assert time.monotonic() < deadline
    assert shell(room, "echo fine")[1].text == "fine\n"


def test_a_room_that_is_killed_is_lost(room, shell):
    import threading

    threading.Timer(0.3, room.kill).start()
    with pytest.raises(RoomLost):
        shell(room, "sleep 60")
    assert room.close()


def test_a_silent_room_ends_by_itself_and_says_so(opened, shell):
    room = opened(ping_s=0.5)
    time.sleep(1.0)
    with pytest.raises(RoomLost):
        shell(room, "true")


def test_a_fork_bomb_harms_only_its_room(room, shell):
    # Its agent looks now and then, and ends the room where it has seen as many of them as there may be.
    with contextlib.suppress(RoomOver):
        ended, _ = shell(room, "f() { f | f & }; f; sleep 2; echo end", timeout_s=4.0, grace_s=1.0)
        assert ended is not None
    assert room.close()


def test_output_is_slowed_down_by_who_reads_it(room, shell):
    taken = []

    def slow(_stream: str, data: bytes) -> None:
        taken.append(len(data))
        time.sleep(0.01)

    room.run(["head", "-c", "8000000", "/dev/zero"], env={}, on_output=slow)
    assert sum(taken) == 8_000_000
    assert max(taken) <= 1 << 18
