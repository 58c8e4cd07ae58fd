"""One function a reader of strangers' bytes: it takes any bytes, and raises only where something is wrong with us.

What a reader may raise is caught here; what must hold of its result is asserted.
"""

import contextlib
import json
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import zstandard

from rivet.domain.definition_rules import read_definition
from rivet.domain.ids import StageKey
from rivet.domain.log import MAX_LINE_BYTES, decode_line, read_chunk
from rivet.domain.mask import Masker
from rivet.domain.pipeline import digest_of, plain_of
from rivet.runner.log_writer import LogWriter
from rivet.runner.proxy_request import Malformed, Request, read_authority
from rivet.runner.room_link import Link, RoomLost
from rivet.sandbox.frames import BadFrame, length_of, pack, unpack

PARTS = 7
SECRETS = (b"hunter2-and-more", b"two lines of\nsome secret text")


def frames(data: bytes) -> None:
    """The decoder of what a Lua child sends: a value, or BadFrame. What is a value goes in again."""
    with contextlib.suppress(BadFrame):
        length_of(data[:4].ljust(4, b"\0"))
    with contextlib.suppress(BadFrame):
        pack(unpack(data))


def agent(data: bytes) -> None:
    """The supervisor's end of a room's socket: answers, and at last RoomLost, for nobody sends more."""
    ours, theirs = socket.socketpair()
    link = Link(ours)
    with ours:
        with theirs:
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                theirs.sendall(data)
        answers = 0
        try:
            while True:
                link.receive()
                answers += 1
        except RoomLost:
            assert answers <= len(data) // 8


def definition(data: bytes) -> None:
    """The rules of definitions, on whatever table a child may say that it evaluated."""
    try:
        table = unpack(data)
    except BadFrame:
        return
    for resolved in (True, False):
        read, findings = read_definition(table, resolved=resolved)
        assert (read is None) == any(finding.severity == "error" for finding in findings)
        for finding in findings:
            assert len(finding.message) < 4000
    json.dumps(plain_of(table))
    assert len(digest_of(table)) == 64


def log(data: bytes) -> None:
    """The splitter of what processes write, in pieces: every byte is in a line, and no line is too long."""
    heard: list[tuple[Any, bytes]] = []

    def record(_type: object, *, data: Any, body: bytes, **_: object) -> None:
        heard.append((data, body))

    journal = SimpleNamespace(masker=Masker(()), record=record, send=lambda: None)
    with LogWriter(journal, StageKey("fuzz"), 1, 1 << 30) as writer:  # type: ignore[arg-type]
        for at in range(0, len(data), max(1, len(data) // PARTS)):
            writer.output("stdout", data[at : at + max(1, len(data) // PARTS)])
    unpack_body = zstandard.ZstdDecompressor().decompress
    lines = [line for header, body in heard for line in read_chunk(header, unpack_body(body)).lines()]
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    raw = [decode_line(line.text) for line in lines]
    assert all(len(line) <= MAX_LINE_BYTES for line in raw)
    if max(map(len, data.split(b"\n")), default=0) <= MAX_LINE_BYTES:
        assert b"\n".join(raw) == data.removesuffix(b"\n")


def proxy(data: bytes) -> None:
    """What a program in a room sends to the proxy: a request with its body, or Malformed."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                theirs.sendall(data)
        with contextlib.suppress(Malformed):
            request = Request.read(ours)
            with contextlib.suppress(Malformed):
                read_authority(request.target)
            head = request.head_for("/", "example.org")
            assert head.count(b"\r\nHost: ") == 1
            assert head.endswith(b"\r\n\r\n")
            assert sum(len(block) for block in request.body(ours)) <= len(data)
    with contextlib.suppress(Malformed):
        host, port = read_authority(data.decode("latin-1"))
        assert host
        assert 0 <= port <= 99999


def mask(data: bytes) -> None:
    """The masker, on whatever stands around secrets and wherever it is cut: never one of them, never longer work."""
    masker = Masker(SECRETS)
    whole = data[: len(data) // 2] + SECRETS[0] + data[len(data) // 2 :]
    assert SECRETS[0] not in masker.mask(whole)
    stream = masker.stream()
    step = max(1, len(whole) // PARTS)
    said = b"".join(stream.feed(whole[at : at + step]) for at in range(0, len(whole), step)) + stream.finish()
    assert SECRETS[0] not in said
    masker.mask_value({data: [data.decode("latin-1"), {"x": data}]})


SEEDS: dict[str, tuple[bytes, ...]] = {
    "frames": (pack({"a": [1, 2.5, True, None, "x"]})[4:],),
    "definition": (pack({"name": "a", "stages": [{"name": "b"}], "limits": {"cpu": 1}, "env": {"A": 1}})[4:],),
    "agent": (b"\0\0\0\x0eanswer 1 0\nyes", b"\0\0\0\x0bended 1 -9\n", b"\0\0\0\x0cover 0 1\ncpu"),
    "log": (b"one\ntwo\r\n\x1b[1mthree", b"\n" * 9),
    "proxy": (
        b"POST http://a:80/b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        b"POST http://a/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n0\r\nA: b\r\n\r\n",
        b"CONNECT [::1]:443 HTTP/1.1\r\n\r\n",
    ),
    "mask": (SECRETS[0][:9] + b"\n" + SECRETS[1][-9:], b"aHVudGVyMi1hbmQtbW9yZQ=="),
}
"""Where fuzzing by coverage begins."""

TARGETS: dict[str, Callable[[bytes], None]] = {
    "frames": frames, "agent": agent, "definition": definition, "log": log, "proxy": proxy, "mask": mask,
}  # fmt: skip
