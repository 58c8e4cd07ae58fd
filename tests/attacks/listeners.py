"""What listens beside the system: bait on loopback that nothing may reach, and one server that all may."""

import contextlib
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, urlsplit

HUGE_BYTES = 256 << 20
SLOW_S = 60.0


@dataclass(slots=True)
class Bait:
    """The listeners of one case: whoever connects is noted in `reached`, and told a canary."""

    canary: bytes
    reached: list[str] = field(default_factory=list)
    ports: dict[str, int] = field(default_factory=dict)
    abstract: str = ""
    _sockets: list[socket.socket] = field(default_factory=list)

    def __enter__(self) -> Self:
        for name in ("DB_PORT", "BROKER_PORT", "HTTP_PORT"):
            # IPv6's loopback too: a way around a list of IPv4 addresses would lead there.
            self.ports[name] = self._listen(socket.AF_INET, ("127.0.0.1", 0), name).getsockname()[1]
            with contextlib.suppress(OSError):
                self._listen(socket.AF_INET6, ("::1", self.ports[name]), f"{name} by IPv6")
        self.abstract = f"rivet-bait-{secrets.token_hex(6)}"
        self._listen(socket.AF_UNIX, f"\0{self.abstract}", "the abstract socket")
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _listen(self, family: int, address: object, name: str) -> socket.socket:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.bind(address)  # type: ignore[arg-type]
        except OSError:
            listening.close()
            raise
        listening.listen(16)
        self._sockets.append(listening)
        threading.Thread(target=self._serve, args=(listening, name), daemon=True).start()
        return listening

    def _serve(self, listening: socket.socket, name: str) -> None:
        said = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + self.canary + b"\r\n"
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self.reached.append(name)
            with connection, contextlib.suppress(OSError):
                connection.settimeout(1.0)
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass


class _Handler(BaseHTTPRequestHandler):
    timeout = 20

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        with contextlib.suppress(OSError):
            match url.path:
                case "/redirect":
                    self._answer(302, location=parse_qs(url.query).get("to", [""])[0])
                case "/redirect-loop":
                    self._answer(302, location=self.path)
                case "/huge":
                    self._stream(HUGE_BYTES)
                case "/slow":
                    self._drip()
                case _:
                    self._answer(200, f"{self.command} {self.path}\n".encode())

    do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = do_OPTIONS = do_GET

    def _answer(self, status: int, body: bytes = b"", location: str | None = None) -> None:
        self.send_response(status)
        if location is not None:
            self.send_header("Location", location.replace("\r", "").replace("\n", ""))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _stream(self, size: int) -> None:
        self.send_response(200)
        self.end_headers()
        block = b"h" * (1 << 16)
        for _ in range(size // len(block)):
            self.wfile.write(block)

    def _drip(self) -> None:
        self.send_response(200)
        self.end_headers()
        until = time.monotonic() + SLOW_S
        while time.monotonic() < until:
            self.wfile.write(b".")
            time.sleep(0.5)

    def log_message(self, *_: object) -> None:
        """The table says what is to be known."""


@contextlib.contextmanager
def allowed_server() -> Iterator[int]:
    """The server that the operator allows, on a port of 127.0.0.1: /echo /redirect?to= /redirect-loop /huge /slow."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()


class _Names(socketserver.BaseRequestHandler):
    """Answers for an A record of a name that ends in `.rebind.test`: public at first, then 127.0.0.1."""

    PUBLIC = bytes((192, 88, 99, 1))
    """A public address by every list, which nobody routes any more (RFC 7526)."""

    def handle(self) -> None:
        data, answering = self.request
        labels, at = [], 12
        while at < len(data) and data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].lower())
            at += data[at] + 1
        question = data[12 : at + 5]
        asked = int.from_bytes(question[-4:-2], "big")
        name = b".".join(labels)
        address = b""
        if asked == 1 and name.endswith(b".rebind.test"):
            times = self.server.asked  # type: ignore[attr-defined]
            times[name] = times.get(name, 0) + 1
            address = self.PUBLIC if times[name] == 1 else bytes((127, 0, 0, 1))
        flags = b"\x81\x80" if name.endswith(b".rebind.test") else b"\x81\x83"
        counts = b"\0\x01" + (b"\0\x01" if address else b"\0\0") + b"\0\0\0\0"
        record = b"\xc0\x0c\0\x01\0\x01\0\0\0\0\0\x04" + address if address else b""
        answering.sendto(data[:2] + flags + counts + question + record, self.client_address)


@contextlib.contextmanager
def name_server() -> Iterator[str | None]:
    """A name server on a loopback address of its own; None where one may not listen on port 53."""
    try:
        address = f"127.53.{secrets.randbelow(250) + 1}.{secrets.randbelow(250) + 1}"
        server = socketserver.UDPServer((address, 53), _Names)
    except OSError:
        yield None
        return
    server.asked = {}  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
