"""One HTTP request to an address that was checked, and its bounded answer; it can be broken off any time."""

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.response import BaseHTTPResponse

from rivet.modules.web import Answer
from rivet.runner.reach import IP

CONNECT_WAIT_S = 15.0
MOST_HEADER_BYTES = 64 * 1024
MOST_ADDRESSES = 4
PORTS = {"http": 80, "https": 443}
_BLOCK = 64 * 1024
_PACKED = (b"gzip", b"x-gzip")


class NotAnswered(Exception):
    """Nothing came back that can be handed on; the message says why."""


@dataclass(frozen=True, slots=True)
class Sending:
    """What goes over the line. `body` is None for none; `until` is monotonic."""

    method: str
    url: SplitResult
    headers: Mapping[str, bytes]
    body: bytes | None
    max_bytes: int
    until: float

    @property
    def host(self) -> str:
        return (self.url.hostname or "").lower().rstrip(".")

    @property
    def port(self) -> int:
        return self.url.port or PORTS[self.url.scheme]

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.url.scheme, self.host, self.port

    @property
    def shown(self) -> str:
        """The URL without what may hold more than a place."""
        return self.url._replace(query="", fragment="").geturl()


class Line:
    """The connection that is open, for whoever breaks it off from another thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._is_broken = False

    def watch(self, connection: socket.socket) -> None:
        """A second handle on it, since TLS takes the first one over. Raises ConnectionAbortedError."""
        with self._lock:
            self._forget()
            if self._is_broken:
                raise ConnectionAbortedError("broken off")
            self._watched = connection.dup()

    def break_off(self) -> None:
        """Whoever reads or writes on it gets an error at once."""
        with self._lock:
            self._is_broken = True
            if self._watched is not None:
                with contextlib.suppress(OSError):
                    self._watched.shutdown(socket.SHUT_RDWR)
            self._forget()

    def let_go(self) -> None:
        with self._lock:
            self._forget()

    def _forget(self) -> None:
        if self._watched is not None:
            self._watched.close()
            self._watched = None


class _Watched:
    """A connection that tells of its socket as soon as there is one. It knows of no proxy."""

    line: Line

    def _new_conn(self) -> socket.socket:
        made: socket.socket = super()._new_conn()  # type: ignore[misc]
        try:
            self.line.watch(made)
        except BaseException:
            made.close()
            raise
        return made


class _Plain(_Watched, HTTPConnection):
    pass


class _Secure(_Watched, HTTPSConnection):
    pass


def exchange(sending: Sending, addresses: Sequence[IP], line: Line) -> Answer:
    """Send it to the first of `addresses` that takes a connection. Raises NotAnswered."""
    connection = _connected(sending, addresses, line)
    try:
        return _asked(connection, sending)
    except (HTTPError, http.client.HTTPException, OSError, ValueError, zlib.error) as error:
        raise NotAnswered(_reason(error)) from None
    finally:
        connection.close()
        line.let_go()


def _connected(sending: Sending, addresses: Sequence[IP], line: Line) -> HTTPConnection:
    """Nothing was asked of an address that takes no connection, so that the next one can be tried."""
    failure = "it has no address"
    for address in addresses[:MOST_ADDRESSES]:
        # The address is what is connected to; the name is only what its certificate must be for.
        left = max(0.001, sending.until - time.monotonic())
        given: dict[str, Any] = {"port": sending.port, "timeout": min(CONNECT_WAIT_S, left)}
        connection: _Plain | _Secure
        if sending.url.scheme == "https":
            trust = ssl.create_default_context()
            connection = _Secure(str(address), ssl_context=trust, server_hostname=sending.host, **given)
        else:
            connection = _Plain(str(address), **given)
        connection.line = line
        try:
            connection.connect()
            return connection
        except ssl.SSLError as error:
            connection.close()
            raise NotAnswered(_untrusted(error)) from None
        except (HTTPError, OSError, ValueError) as error:
            connection.close()
            failure = f"{address} does not answer: {_reason(error)}"
    raise NotAnswered(failure)


def _asked(connection: HTTPConnection, sending: Sending) -> Answer:
    # Whoever waits for the answer gives up at `until`; this is for when nobody does any more.
    connection.timeout = max(0.0, sending.until - time.monotonic()) + 1.0
    if connection.sock is not None:
        connection.sock.settimeout(connection.timeout)
    target = (sending.url.path or "/") + (f"?{sending.url.query}" if sending.url.query else "")
    connection.request(
        sending.method, target, body=sending.body, headers=_headers(sending),
        preload_content=False, decode_content=False,
    )  # fmt: skip
    answer = connection.getresponse()
    with contextlib.closing(answer):
        headers = _headers_of(answer)
        return Answer(answer.status, sending.url.geturl(), headers, _body(answer, headers, sending.max_bytes))


def _headers(sending: Sending) -> dict[str, Any]:
    host = f"[{sending.host}]" if _is_v6(sending.host) else sending.host
    named = host if sending.port == PORTS[sending.url.scheme] else f"{host}:{sending.port}"
    ours: dict[str, Any] = {"host": named, "accept-encoding": "gzip", "user-agent": "rivet"}
    given = {name.lower(): value for name, value in sending.headers.items()}
    return ours | given


def _headers_of(answer: BaseHTTPResponse) -> dict[str, bytes]:
    headers = {
        name.lower()[:256]: ", ".join(answer.headers.getlist(name)).encode("latin-1", "replace")
        for name in answer.headers
    }
    if sum(len(name) + len(value) for name, value in headers.items()) > MOST_HEADER_BYTES:
        raise NotAnswered(f"the headers of the answer have more than {MOST_HEADER_BYTES} bytes")
    return headers


def _body(answer: BaseHTTPResponse, headers: Mapping[str, bytes], most: int) -> bytes:
    """All of it, unpacked. Neither what comes over the line nor what it unpacks to is let grow."""
    is_packed = headers.get("content-encoding", b"").strip().lower() in _PACKED
    unpacked = _Unpacked(most) if is_packed else None
    body, came = bytearray(), 0
    while block := answer.read(_BLOCK, decode_content=False):
        came += len(block)
        body += block if unpacked is None else unpacked.take(block)
        if len(body) > most or came > most + _BLOCK:
            raise NotAnswered(
                f"the body of the answer has more than {most} bytes: `max_bytes` can allow more, "
                "and a program that process.run starts can get what is larger than that"
            )
    if unpacked is not None and came and not unpacked.is_complete:
        raise NotAnswered("the answer is packed with gzip, and ends in the middle")
    return bytes(body)


class _Unpacked:
    """gzip, several pieces in a row too; gives no more than one byte over `most` in all."""

    def __init__(self, most: int) -> None:
        self._left = most + 1
        self._gzip = zlib.decompressobj(wbits=31)

    @property
    def is_complete(self) -> bool:
        return self._gzip.eof

    def take(self, block: bytes) -> bytes:
        found = bytearray()
        while block and self._left > 0:
            if self._gzip.eof:
                self._gzip = zlib.decompressobj(wbits=31)
            part = self._gzip.decompress(block, self._left)
            self._left -= len(part)
            found += part
            block = self._gzip.unconsumed_tail or self._gzip.unused_data
        return bytes(found)


def _untrusted(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"its certificate cannot be trusted: {error.verify_message}. The authorities that the runner "
            "trusts are those of its system, or of the file that its operator names in SSL_CERT_FILE"
        )
    return f"TLS failed: {error.reason or error}"


def _reason(error: Exception) -> str:
    match error:
        case urllib3.exceptions.NewConnectionError():
            return str(getattr(error.__cause__, "strerror", None) or "no connection could be made")
        case TimeoutError() | ReadTimeoutError() | urllib3.exceptions.ConnectTimeoutError():
            return "it is silent for too long"
        case http.client.LineTooLong():
            return "a line of the answer's head is longer than 65536 bytes"
        case http.client.RemoteDisconnected() | ConnectionResetError() | BrokenPipeError():
            return "it closed the connection without an answer"
        case urllib3.exceptions.ProtocolError() | http.client.IncompleteRead():
            return "the answer ends in the middle, or is not what HTTP is"
        case http.client.HTTPException():
            return f"what it answers is not HTTP: {str(error)[:200] or type(error).__name__}"
        case zlib.error():
            return "the answer says that it is packed with gzip, and is not"
        case OSError():
            return error.strerror or str(error)
    return f"it cannot be asked: {type(error).__name__}"


def _is_v6(host: str) -> bool:
    try:
        return isinstance(ipaddress.ip_address(host), ipaddress.IPv6Address)
    except ValueError:
        return False
