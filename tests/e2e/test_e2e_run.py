"""`rivet run` and `rivet runs`: what is typed, what is shown, which exit code it has."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import RIVET, Terminal, hear_interrupts, make_repository

SLEEPS = 'log.info("begun") process.run({ command = "sleep", args = { "60" } })'


def wait_for_output(process: "subprocess.Popen[str]", wanted: str) -> str:
    """What was printed up to the line that holds `wanted`."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if wanted in line:
            return seen
    raise AssertionError(f"{wanted!r} was never printed: {seen}")


def newest(terminal: Terminal, pipeline: str) -> dict[str, object]:
    listed = json.loads(terminal.rivet("runs", "list", "--pipeline", pipeline, "--json").stdout)
    return dict(listed["items"][0])


def test_the_example_pipeline_runs_on_a_real_repository(terminal: Terminal) -> None:
    repository = make_repository(terminal.folder / "repo")
    seed = (Path(__file__).parents[2] / "examples" / "seed.lua").read_text()
    file = terminal.file("seed.lua", seed.replace("https://github.com/user/repo.git", repository.as_uri()))
    done = terminal.rivet("run", file)
    assert done.returncode == 0, done.stderr + done.stdout
    stages = [line for line in done.stdout.splitlines() if line.startswith("== ")]
    assert stages == ["== checkout", "== test"]
    assert "  | Cloning repository..." in done.stdout
    assert "1 passed" in done.stdout
    assert "passed example-pipeline#1 in " in done.stdout
    assert "Look next: rivet runs show example-pipeline#1" in done.stderr

    shown = json.loads(terminal.rivet("runs", "show", "example-pipeline#1", "--json").stdout)
    assert [stage["status"] for stage in shown["stages"]] == ["passed", "passed"]
    by_prefix = json.loads(terminal.rivet("runs", "show", shown["id"][:20], "--json").stdout)
    assert by_prefix == shown
    log = terminal.rivet("runs", "logs", "example-pipeline#1", "--stage", "test", "--tail", "1")
    assert "1 passed" in log.stdout
    again = terminal.rivet("runs", "logs", "--follow", "example-pipeline#1")
    assert again.returncode == 0
    assert "1 passed" in again.stdout


def test_a_failing_command_ends_the_run_with_1_and_is_named(terminal: Terminal) -> None:
    script = 'process.run({ command = "sh", args = { "-c", "echo some detail; exit 3" } })'
    done = terminal.rivet("run", terminal.pipeline("fails", script))
    assert done.returncode == 1
    assert "failed fails#1" in done.stdout
    last = done.stdout.split("failed fails#1")[1]
    assert '"sh' in last
    assert "exit code 3" in last
    assert "some detail" in last
    assert "fails#1" in terminal.rivet("runs", "show", "fails#1").stdout


def test_a_script_error_names_file_and_line(terminal: Terminal) -> None:
    done = terminal.rivet("run", terminal.pipeline("breaks", 'local x = nil\nerror("no such thing")'))
    assert done.returncode == 1
    assert ":3: " in done.stdout
    assert "no such thing" in done.stdout


def test_no_follow_prints_the_run_on_its_last_line(terminal: Terminal) -> None:
    done = terminal.rivet("run", terminal.pipeline("quick", 'log.info("hello")'), "--no-follow", "--json")
    run = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0
    assert (run["pipeline"], run["number"]) == ("quick", 1)
    followed = terminal.rivet("runs", "logs", "--follow", "quick#1", "--json")
    events = [json.loads(line) for line in followed.stdout.splitlines()]
    assert events[-1]["event"] == "end"
    assert events[-1]["data"]["lines"] == 1
    assert followed.returncode == 0


def test_a_followed_log_says_nothing_twice_and_only_its_result_when_quiet(terminal: Terminal) -> None:
    script = 'for i = 1, 200 do log.info("line " .. i) end'
    loud = terminal.rivet("run", terminal.pipeline("lines", script))
    assert [line for line in loud.stdout.splitlines() if "| line " in line] == [
        f"  | line {n}" for n in range(1, 201)
    ]
    quiet = terminal.rivet("run", "lines", "--quiet")
    assert quiet.returncode == 0
    assert quiet.stdout.splitlines()[-1] == "lines#2 passed"
    assert quiet.stderr == ""


def test_what_a_command_prints_does_not_steer_the_terminal(terminal: Terminal) -> None:
    script = 'process.run({ command = "printf", args = { "\\\\033]0;title\\\\007 \\\\033[31mred\\\\033[0m\\\\n" } })'
    done = terminal.rivet("run", terminal.pipeline("escapes", script))
    assert done.returncode == 0, done.stdout
    assert "\x1b" not in done.stdout
    assert "\\x1b]0;title\\x07 red" in done.stdout
    raw = terminal.rivet("runs", "logs", "escapes#1", "--raw")
    assert "\x1b]0;title\x07 \x1b[31mred\x1b[0m\n" in raw.stdout


def test_inputs_are_checked_and_typed(terminal: Terminal) -> None:
    head = 'inputs = { times = { type = "number", required = true } },'
    file = terminal.pipeline("asks", 'log.info("twice is " .. input.get("times") * 2)', head=head)
    assert "twice is 42" in terminal.rivet("run", file, "-i", "times=21").stdout
    for given, said in (
        ((), "times"),
        (("-i", "times=many"), "times"),
        (("-i", "times=1", "-i", "tiems=1"), 'did you mean "times"'),
    ):
        done = terminal.rivet("run", file, *given)
        assert (done.returncode, done.stdout) == (2, "")
        assert said in done.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("pipeline = { name = ", "bad.lua:1:"),
        ('return { name = "bad" }', "stages"),
        ('return { name = "bad", stages = {} }', "stages"),
        ('log.info("early")\nreturn { name = "bad", stages = {} }', "bad.lua:1:"),
        ("while true do end", "bad.lua:1:"),
        ('local t = {} while true do t[#t + 1] = ("x"):rep(1e6) end', "memory"),
        ("-- " + "x" * 10_000_000, "bytes"),
    ],
)
def test_a_bad_pipeline_is_refused_with_2_and_its_place(terminal: Terminal, source: str, said: str) -> None:
    file = terminal.file("bad.lua", source)
    for command in (("run", file), ("pipeline", "save", file)):
        done = terminal.rivet(*command)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert said in done.stderr
    checked = terminal.rivet("check", file)
    assert checked.returncode == 1
    assert said in checked.stdout
    assert "bad" not in terminal.rivet("pipeline", "list").stdout.split()


def test_an_unknown_name_is_said_with_2(terminal: Terminal) -> None:
    for command in (("run", "nothing"), ("pipeline", "show", "nothing"), ("runs", "show", "nothing#9")):
        done = terminal.rivet(*command)
        assert done.returncode == 2
        assert "nothing" in done.stderr


def test_a_wrong_token_and_a_server_that_is_not_there_are_3(terminal: Terminal) -> None:
    url = json.loads(terminal.rivet("status", "--json").stdout)["url"]
    for env in (
        {"RIVET_URL": url, "RIVET_TOKEN": "rvt_admin_wrong"},
        {"RIVET_URL": "http://127.0.0.1:1", "RIVET_TOKEN": "rvt_admin_any"},
    ):
        done = terminal.rivet("runs", "list", **env)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("Error: ")


def test_ctrl_c_without_a_terminal_detaches_and_the_run_goes_on(terminal: Terminal) -> None:
    following = terminal.begin("run", terminal.pipeline("sleeps", SLEEPS))
    wait_for_output(following, "begun")
    following.send_signal(signal.SIGINT)
    _, told = following.communicate(timeout=30)
    assert following.returncode == 130
    assert "rivet runs cancel sleeps#1" in told
    assert newest(terminal, "sleeps")["status"] == "running"
    follower = terminal.begin("runs", "logs", "--follow", "sleeps#1")
    wait_for_output(follower, "begun")
    cancelled = terminal.rivet("runs", "cancel", "sleeps#1")
    assert "sleeps#1 cancel" in cancelled.stdout
    follower.communicate(timeout=60)
    assert follower.returncode == 4


def test_ctrl_c_on_a_terminal_asks_and_can_cancel(terminal: Terminal) -> None:
    file = terminal.pipeline("asked", SLEEPS)
    pid, screen = pty.fork()
    if pid == 0:
        hear_interrupts()
        os.chdir(terminal.folder)
        os.execve(RIVET[0], (*RIVET, "run", file), terminal.env())
    seen = read_until(screen, "begun")
    os.write(screen, b"\x03")
    seen += read_until(screen, "cancel, detach")
    os.write(screen, b"cancel\r")
    read_until(screen, "cancelled asked#1")
    _, status = os.waitpid(pid, 0)
    os.close(screen)
    assert os.waitstatus_to_exitcode(status) == 4


def read_until(screen: int, wanted: str, seconds: float = 60.0) -> str:
    deadline, seen = time.monotonic() + seconds, ""
    while wanted not in seen:
        ready, _, _ = select.select([screen], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"{wanted!r} never came: {seen}"
        seen += os.read(screen, 65536).decode(errors="replace")
    return seen


def test_pipelines_are_saved_listed_and_shown(terminal: Terminal) -> None:
    file = terminal.pipeline("kept", 'log.info("one")')
    assert terminal.rivet("pipeline", "save", file).stdout == "saved kept, version 1\n"
    terminal.pipeline("kept", 'log.info("two")')
    assert terminal.rivet("pipeline", "save", file).stdout == "saved kept, version 2\n"
    assert "kept" in terminal.rivet("pipeline", "list").stdout
    assert (
        terminal.rivet("pipeline", "show", "kept", "--source").stdout == (terminal.folder / file).read_text()
    )
    terminal.pipeline("kept", 'log.info("three")')
    assert "version unpublished" in terminal.rivet("run", file).stdout
    assert "two" in terminal.rivet("run", "kept").stdout


def test_runners_are_listed_and_get_tokens(terminal: Terminal) -> None:
    assert "online" in terminal.rivet("runner", "list").stdout
    token = terminal.rivet("runner", "token", "--queue", "gpu,default").stdout.strip()
    assert token.startswith("rvt_runner_")
