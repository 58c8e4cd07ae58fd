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
from typing import Self
from urllib.parse import urlsplit

from rivet.domain.limits import Limits, OverLimit
from rivet.runner.proxy_peer import user_of
from rivet.runner.proxy_request import (
    BLOCK,
    OF_ONE_HOP,
    Malformed,
    Request,
    read_authority,
    read_head,
)
from rivet.runner.reach import ProxyRules, Refused

__all__ = ["Proxy", "ProxyRules"]

Handle = Callable[[socket.socket], None]

MOST_CONNECTIONS = 128
HEAD_WAIT_S = 30.0
CONNECT_WAIT_S = 15.0
IDLE_S = 600.0


class Proxy:
    """Serves connections of `listener` until `close`. `refusals` are the last 20, oldest first.

    `doors` are listeners that stand in the room for one host and port each, for what speaks no HTTP. After
    `most_bytes` in both directions together nothing is carried any more. With `only_user` others are hung up
    on: a listener on the host's own loopback is open to everybody there.
    """

    def __init__(
        self,
        listener: socket.socket,
        rules: ProxyRules,
        doors: Sequence[tuple[socket.socket, str, int]] = (),
        most_bytes: int = Limits().network,
        only_user: int | None = None,
    ) -> None:
        self.rules = rules
        self._only_user = only_user
        self.refusals: deque[str] = deque(maxlen=20)
        self.bytes_carried = self.connections = 0
        self.most_bytes = most_bytes
        self.over: OverLimit | None = None
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
                client, peer = listener.accept()
            except OSError:
                return
            if self._only_user is not None and user_of(peer, client.getsockname()) != self._only_user:
                client.close()
                continue
            self.connections += 1
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
            request = Request.read(client)
            if request.method == "CONNECT":
                self._tunnel(client, request)
            else:
                self._forward(client, request)
        except Malformed as malformed:
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

    def _tunnel(self, client: socket.socket, request: Request) -> None:
        host, port = read_authority(request.target)
        self.rules.check_tunnel()
        with self._connected(host, port) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            upstream.sendall(request.rest)
            self._relay(client, upstream)

    def _forward(self, client: socket.socket, request: Request) -> None:
        """One request, one answer, and the connection ends: so no second request goes by unchecked."""
        try:
            parts = urlsplit(request.target)
            host, port = parts.hostname, parts.port or 80
        except ValueError as error:
            raise Malformed(f"no URL: {error}") from error
        if parts.scheme != "http" or not host:
            raise Malformed("this is a proxy: it takes CONNECT, or requests for a whole http:// URL")
        self.rules.check_path(parts.path or "/")
        with self._connected(host, port) as upstream:
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            upstream.sendall(request.head_for(path, parts.netloc.rpartition("@")[2]))
            if request.expects:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            for block in request.body(client):
                self._count(block)
                upstream.sendall(block)
            self._answer_from(upstream, client)

    def _answer_from(self, upstream: socket.socket, client: socket.socket) -> None:
        try:
            head, rest = read_head(upstream)
        except Malformed as malformed:
            raise _Unreachable(f"what was asked for did not answer with HTTP: {malformed}") from malformed
        lines = head.split(b"\r\n")
        kept = [line for line in lines[1:] if line.partition(b":")[0].strip().lower().decode("latin-1")
                not in OF_ONE_HOP]  # fmt: skip
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
            self._count(block)
            sink.sendall(block)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _count(self, block: bytes) -> None:
        """Raises ConnectionAbortedError where this is more than may be carried."""
        with self._lock:
            self.bytes_carried += len(block)
            if self.bytes_carried > self.most_bytes and self.over is None:
                self.over = OverLimit("network", self.most_bytes)
                self.refusals.append(str(self.over))
        if self.over is not None:
            raise ConnectionAbortedError(str(self.over))

    @contextlib.contextmanager
    def _connected(self, host: str, port: int) -> Iterator[socket.socket]:
        """A connection to an address that was checked. Raises Refused and _Unreachable."""
        if self.over is not None:
            raise Refused(str(self.over))
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


class _Unreachable(Exception):
    """It may be reached, and does not answer."""


def _answer(client: socket.socket, status: int, text: str) -> None:
    words = {400: "Bad Request", 403: "Forbidden", 502: "Bad Gateway", 503: "Service Unavailable"}
    body = f"rivet: {text}\n".encode()
    head = (
        f"HTTP/1.1 {status} {words[status]}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        client.sendall(head.encode() + body)
