"""What a proxy is asked: read strictly and in bounds, because strangers' programs write it."""

import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

MOST_HEAD_BYTES = 64 << 10
BLOCK = 64 << 10

OF_ONE_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te",
    "trailer", "upgrade", "expect",
}  # fmt: skip


class Malformed(Exception):
    """What came is no request that a proxy takes; the message says what is wrong with it."""


@dataclass(slots=True)
class Request:
    """The head of a request. `rest` is what was read beyond it."""

    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    rest: bytes = field(repr=False)

    @classmethod
    def read(cls, client: socket.socket) -> Self:
        head, rest = read_head(client)
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if (
            not first.isprintable()
            or len(words) != 3
            or not words[2].startswith("HTTP/1.")
            or not words[0].isalpha()
        ):
            raise Malformed("this is an HTTP/1.1 proxy, and that was no request of HTTP/1.1")
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\n" in line or "\r" in line or "\0" in line:
                raise Malformed("a header of the request is malformed")
            headers.append((name, value.strip()))
        return cls(words[0], words[1], words[2], headers, rest)

    @property
    def expects(self) -> bool:
        return any(name.lower() == "expect" for name, _ in self.headers)

    def head_for(self, path: str, host: str) -> bytes:
        """The head as the server gets it: the target's own host, and nothing that is between two hops."""
        lines = [f"{self.method} {path} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [
            f"{name}: {value}"
            for name, value in self.headers
            if name.lower() not in OF_ONE_HOP and name.lower() != "host"
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def body(self, client: socket.socket) -> Iterator[bytes]:
        """The body as it comes, and not a byte beyond it. Raises Malformed."""
        lengths = {value for name, value in self.headers if name.lower() == "content-length"}
        codings = [value.lower() for name, value in self.headers if name.lower() == "transfer-encoding"]
        if (lengths and codings) or len(lengths) > 1 or codings not in ([], ["chunked"]):
            raise Malformed("the length of the request's body is not clear")
        stream = _Stream(client, self.rest)
        if codings:
            yield from _chunks(stream)
        elif lengths:
            length = lengths.pop()
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise Malformed("the length of the request's body is no number")
            yield from stream.exactly(int(length))


class _Stream:
    """A socket with what was read from it too early."""

    def __init__(self, source: socket.socket, begun: bytes) -> None:
        self._source = source
        self._begun = begun

    def _more(self) -> bytes:
        block = self._source.recv(BLOCK)
        if not block:
            raise Malformed("the request ends within its body")
        return block

    def exactly(self, size: int) -> Iterator[bytes]:
        while size:
            block = self._begun or self._more()
            self._begun = block[size:]
            yield block[:size]
            size -= len(block[:size])

    def line(self) -> bytes:
        while b"\n" not in self._begun:
            if len(self._begun) > 4096:
                raise Malformed("a line of the request's body is too long")
            self._begun += self._more()
        line, _, self._begun = self._begun.partition(b"\n")
        return line + b"\n"


def _chunks(stream: _Stream) -> Iterator[bytes]:
    while True:
        line = stream.line()
        size = line.partition(b";")[0].strip()
        try:
            length = int(size, 16) if size.isalnum() and len(size) < 12 else -1
        except ValueError:
            length = -1
        if length < 0:
            raise Malformed("a chunk of the request's body has no length")
        yield line
        if length == 0:
            # Trailers, up to the empty line.
            while (line := stream.line()).strip():
                pass
            yield b"\r\n"
            return
        yield from stream.exactly(length)
        yield stream.line()


def read_head(source: socket.socket) -> tuple[bytes, bytes]:
    """A head without its empty line, and what came after it. Raises Malformed."""
    got = b""
    while b"\r\n\r\n" not in got:
        if len(got) > MOST_HEAD_BYTES:
            raise Malformed(f"the head is longer than {MOST_HEAD_BYTES} bytes")
        block = source.recv(BLOCK)
        if not block:
            raise Malformed("the connection ended within the head")
        got += block
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def read_authority(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or not host:
        raise Malformed("CONNECT takes host:port")
    return host, int(port)
