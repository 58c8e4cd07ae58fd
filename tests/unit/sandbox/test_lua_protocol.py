"""A child that breaks the protocol: hand-written bytes where a Lua child would be."""

import os
import socket
import struct
import subprocess
from collections.abc import Iterator

import pytest

from rivet.sandbox.children import Child, LuaLimits
from rivet.sandbox.frames import pack
from rivet.sandbox.lua import Script

MODULES = {"log": {"info": "oneway"}, "env": {"get": "call"}}


@pytest.fixture
def stranger() -> Iterator[tuple[Script, socket.socket, "subprocess.Popen[bytes]"]]:
    """A script whose child is `sleep`, and the other end of its frames."""
    process = subprocess.Popen(["sleep", "60"])
    ours, theirs = socket.socketpair()
    end, told = os.pipe()
    child = Child(process.pid, os.pidfd_open(process.pid), ours, end, LuaLimits(wall_s=5))
    with theirs, Script(child, "rivet.lua", MODULES) as script:
        yield script, theirs, process
    os.close(told)
    process.kill()
    process.wait()


BREACHES = {
    "no value": struct.pack("<I", 3) + b"ZZZ",
    "an endless frame": struct.pack("<I", 2**32 - 1),
    "no known frame": pack(["hello"]),
    "a function that was not given": pack(["call", "env", "all", []]),
    "a waiting call to one that is not waited for": pack(["call", "log", "info", []]),
    "something said that must be waited for": pack(["said", ["env", "get", []]]),
    "arguments that are no list": pack(["call", "env", "get", {"a": 1}]),
    "a failure of no known kind": pack(["failed", {"kind": "wall", "message": "x"}]),
    "a failure that is not told in words": pack(["failed", {"kind": "error", "message": 5}]),
    "a table while a script runs": pack(["table", {}]),
}


@pytest.mark.parametrize("sent", BREACHES.values(), ids=BREACHES)
def test_a_breach_of_the_protocol_ends_the_child(stranger, sent):
    script, theirs, process = stranger
    theirs.sendall(sent)
    failure = script.run((1,), lambda *_: None)
    assert failure.kind == "protocol"
    assert process.wait(5) == -9


def test_a_silent_child_runs_out_of_time(stranger):
    script, _, process = stranger
    script._child.deadline -= 4.9
    assert script.run((1,), lambda *_: None).kind == "wall"
    assert process.wait(5) == -9


def test_lines_and_numbers_in_a_failure_are_not_believed(stranger):
    script, theirs, _ = stranger
    theirs.sendall(pack(["failed", {"kind": "error", "message": b"\xff", "line": -5, "traceback": [1, "x"]}]))
    failure = script.run((1,), lambda *_: None)
    assert (failure.message, failure.line, failure.traceback) == ("\\xff", None, ("x",))
