"""The only network of a room: an HTTP proxy in the supervisor that a socket in the room leads to.

It takes `CONNECT` and requests for absolute `http` URLs, checks each one, resolves once and connects to the
address that was checked. A refusal is a 403 that says why, and is remembered for the error of the command
that ran into it.
"""

import contextlib
import functools
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from rivet.runner.reach import ProxyRules, Refused

__all__ = ["Proxy", "ProxyRules"]

Handle = Callable[[socket.socket], None]

MOST_CONNECTIONS = 128
MOST_HEAD_BYTES = 64 << 10
HEAD_WAIT_S = 30.0
CONNECT_WAIT_S = 15.0
IDLE_S = 600.0
BLOCK = 64 << 10

_OF_ONE_HOP = {
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "proxy-authenticate", "te",
    "trailer", "upgrade", "expect",
}  # fmt: skip


class Proxy:
    """Serves connections of `listener` until `close`. `refusals` are the last 20, oldest first.

    `doors` are listeners that stand in the room for one host and port each, for what speaks no HTTP.
    """

    def __init__(
        self,
        listener: socket.socket,
        rules: ProxyRules,
        doors: Sequence[tuple[socket.socket, str, int]] = (),
    ) -> None:
        self.rules = rules
        self.refusals: deque[str] = deque(maxlen=20)
        self.bytes_carried = 0
        self._listeners = [listener, *(door for door, _, _ in doors)]
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self.port: int = listener.getsockname()[1]
        self._acceptors = [self._accepting(listener, self._handle)]
        for door, host, port in doors:
            self._acceptors.append(self._accepting(door, functools.partial(self._pass, host, port)))

    def close(self) -> None:
        """End all connections and take no more."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            sockets = [*self._listeners, *self._open]
        for each in sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for acceptor in self._acceptors:
            acceptor.join(2.0)
        for listener in self._listeners:
            listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accepting(self, listener: socket.socket, handle: Handle) -> threading.Thread:
        acceptor = threading.Thread(
            target=self._accept, args=(listener, handle), name="room-proxy", daemon=True
        )
        acceptor.start()
        return acceptor

    def _accept(self, listener: socket.socket, handle: Handle) -> None:
        while not self._closed:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            if not self._slots.acquire(blocking=False):
                _answer(client, 503, f"this stage has {MOST_CONNECTIONS} connections open, which is the most")
                client.close()
                continue
            threading.Thread(
                target=self._serve, args=(client, handle), name="room-connection", daemon=True
            ).start()

    def _serve(self, client: socket.socket, handle: Handle) -> None:
        try:
            with self._watched(client):
                client.settimeout(HEAD_WAIT_S)
                handle(client)
        except OSError:
            # The other side is gone or silent: there is nobody to tell.
            pass
        finally:
            self._slots.release()

    def _handle(self, client: socket.socket) -> None:
        try:
            request = _Request.read(client)
            if request.method == "CONNECT":
                self._tunnel(client, request)
            else:
                self._forward(client, request)
        except _Malformed as malformed:
            _answer(client, 400, str(malformed))
        except Refused as refused:
            self.refusals.append(str(refused))
            _answer(client, 403, str(refused))
        except _Unreachable as unreachable:
            _answer(client, 502, str(unreachable))

    def _pass(self, host: str, port: int, client: socket.socket) -> None:
        """Whatever is spoken, carried to the host that this door stands for."""
        try:
            with self._connected(host, port) as upstream:
                self._relay(client, upstream)
        except (Refused, _Unreachable) as refused:
            self.refusals.append(str(refused))

    def _tunnel(self, client: socket.socket, request: "_Request") -> None:
        host, port = _authority(request.target)
        self.rules.check_tunnel()
        with self._connected(host, port) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upstream.sendall(request.rest)
            self._relay(client, upstream)

    def _forward(self, client: socket.socket, request: "_Request") -> None:
        """One request, one answer, and the connection ends: so no second request goes by unchecked."""
        try:
            parts = urlsplit(request.target)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise _Malformed(f"no URL: {error}") from error
        if parts.scheme != "http" or not host:
            raise _Malformed("this is a proxy: it takes CONNECT, or requests for a whole http:// URL")
        self.rules.check_path(parts.path or "/")
        with self._connected(host, port) as upstream:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            upstream.sendall(request.head_for(path, parts.netloc.rpartition("@")[2]))
            if request.expects:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            for block in request.body(client):
                upstream.sendall(block)
                self.bytes_carried += len(block)
            self._answer_from(upstream, client)

    def _answer_from(self, upstream: socket.socket, client: socket.socket) -> None:
        try:
            head, rest = _read_head(upstream)
        except _Malformed as malformed:
            raise _Unreachable(f"what was asked for did not answer with HTTP: {malformed}") from malformed
        lines = head.split(b"\r\n")
        kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower().decode("latin-1")
                not in _OF_ONE_HOP]  # fmt: skip
        client.sendall(b"\r\n".join([lines[0], *kept, b"Connection: close", b"", b""]) + rest)
        self._carry(upstream, client)

    def _relay(self, client: socket.socket, upstream: socket.socket) -> None:
        for each in (client, upstream):
            each.settimeout(IDLE_S)
        back = threading.Thread(
            target=self._carry_quietly, args=(upstream, client), name="room-connection-back", daemon=True
        )
        back.start()
        self._carry_quietly(client, upstream)
        back.join(IDLE_S)

    def _carry_quietly(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            self._carry(source, sink)
        except OSError:
            # Whichever side broke, both directions end.
            for each in (source, sink):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        while block := source.recv(BLOCK):
            sink.sendall(block)
            self.bytes_carried += len(block)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    @contextlib.contextmanager
    def _connected(self, host: str, port: int) -> Iterator[socket.socket]:
        """A connection to an address that was checked. Raises Refused and _Unreachable."""
        addresses = self.rules.addresses(host, port)
        failure = ""
        for address in addresses[:4]:
            try:
                upstream = socket.create_connection((str(address), port), timeout=CONNECT_WAIT_S)
            except OSError as error:
                failure = f"{host}:{port} ({address}) does not answer: {error}"
                continue
            upstream.settimeout(IDLE_S)
            with self._watched(upstream):
                yield upstream
            return
        raise _Unreachable(failure)

    @contextlib.contextmanager
    def _watched(self, connection: socket.socket) -> Iterator[None]:
        """Known to `close` while it is open; closed afterwards."""
        with connection:
            with self._lock:
                if self._closed:
                    raise ConnectionAbortedError("the room is closed")
                self._open.add(connection)
            try:
                yield
            finally:
                with self._lock:
                    self._open.discard(connection)


class _Malformed(Exception):
    """What came is no request that a proxy takes."""


class _Unreachable(Exception):
    """It may be reached, and does not answer."""


@dataclass(slots=True)
class _Request:
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    rest: bytes = field(repr=False)

    @classmethod
    def read(cls, client: socket.socket) -> Self:
        head, rest = _read_head(client)
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ")
        if not first.isprintable() or len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[0].isalpha():
            raise _Malformed("this is an HTTP/1.1 proxy, and that was no request of HTTP/1.1")
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip() or "\n" in line or "\r" in line or "\0" in line:
                raise _Malformed("a header of the request is malformed")
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
            if name.lower() not in _OF_ONE_HOP and name.lower() != "host"
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def body(self, client: socket.socket) -> Iterator[bytes]:
        """The body as it comes, and not a byte beyond it. Raises _Malformed."""
        lengths = {value for name, value in self.headers if name.lower() == "content-length"}
        codings = [value.lower() for name, value in self.headers if name.lower() == "transfer-encoding"]
        if (lengths and codings) or len(lengths) > 1 or codings not in ([], ["chunked"]):
            raise _Malformed("the length of the request's body is not clear")
        stream = _Stream(client, self.rest)
        if codings:
            yield from _chunks(stream)
        elif lengths:
            length = lengths.pop()
            if not (length.isascii() and length.isdigit() and len(length) < 16):
                raise _Malformed("the length of the request's body is no number")
            yield from stream.exactly(int(length))


class _Stream:
    """A socket with what was read from it too early."""

    def __init__(self, source: socket.socket, begun: bytes) -> None:
        self._source = source
        self._begun = begun

    def _more(self) -> bytes:
        block = self._source.recv(BLOCK)
        if not block:
            raise _Malformed("the request ends within its body")
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
                raise _Malformed("a line of the request's body is too long")
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
            raise _Malformed("a chunk of the request's body has no length")
        yield line
        if length == 0:
            # Trailers, up to the empty line.
            while (line := stream.line()).strip():
                pass
            yield b"\r\n"
            return
        yield from stream.exactly(length)
        yield stream.line()


def _read_head(source: socket.socket) -> tuple[bytes, bytes]:
    """A head without its empty line, and what came after it. Raises _Malformed."""
    got = b""
    while b"\r\n\r\n" not in got:
        if len(got) > MOST_HEAD_BYTES:
            raise _Malformed(f"the head is longer than {MOST_HEAD_BYTES} bytes")
        block = source.recv(BLOCK)
        if not block:
            raise _Malformed("the connection ended within the head")
        got += block
    head, _, rest = got.partition(b"\r\n\r\n")
    return head, rest


def _authority(target: str) -> tuple[str, int]:
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdigit() or len(port) > 5 or not host:
        raise _Malformed("CONNECT takes host:port")
    return host, int(port)


def _answer(client: socket.socket, status: int, text: str) -> None:
    words = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}
    body = f"rivet: {text}\n".encode()
    head = (
        f"HTTP/1.1 {status} {words[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        client.sendall(head.encode() + body)
