"""The HTTP client of the command line and of runners: keep-alive over `http.client`, nothing to install.

    client = Client("http://127.0.0.1:8080", token)
    run = client.call("GET", "/runs/0190…")
    for event in client.events(run["id"]):
        …

Paths are those of the API without `/api/v1`; those that live beside it (`/healthz`, `/readyz`, `/metrics`)
are taken as they are. Proxies of the environment are not used: the address that was given is the one that
is spoken to.
"""

import http.client
import json
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_EVENT_BYTES = 8 * 1024 * 1024
_BLOCK_BYTES = 1 << 20
SILENCE_S = 45.0
"""A stream pings every 15 s; one that is silent for so long is taken for dead."""

_BESIDE_THE_API = ("/api/", "/healthz", "/readyz", "/metrics", "/badges/", "/hooks/")
_MAY_BE_SENT_AGAIN = frozenset({"GET", "HEAD", "PUT", "DELETE"})
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})


class ApiUnreachable(Exception):
    """Nobody answers at the API's address, or what answers does not speak its language."""


class ApiProblem(Exception):
    """The API refused. `code` is stable and for programs, `detail` is for people.

    `extra` holds the problem's other members, such as the `findings` of `invalid_pipeline`.
    """

    def __init__(self, status: int, code: str, detail: str, extra: Mapping[str, Any] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra: Mapping[str, Any] = extra or {}


class _NothingFollows(Exception):
    """The position that was asked for is that of the run's end."""


@dataclass(frozen=True, slots=True)
class Event:
    """One Server-Sent Event: its position in the run, its type and its JSON.

    Types are `state`, `log`, `annotation` and `end`.
    """

    id: str
    type: str
    data: dict[str, Any]


@dataclass
class _Local(threading.local):
    """The one connection of a thread, and the process that opened it."""

    connection: http.client.HTTPConnection | None = None
    pid: int = 0


@dataclass(eq=False)
class Client:
    """Speaks to one API as one token. Safe among threads (a connection each) and after a fork.

    `url` is `http://host:port` or `https://…`; `timeout_s` bounds connecting and each silence of an answer.
    Raises ApiUnreachable at once if `url` is not such an address.
    """

    url: str
    token: str = field(default="", repr=False)
    timeout_s: float = 30.0
    _local: _Local = field(default_factory=_Local, init=False, repr=False)

    def __post_init__(self) -> None:
        self.url = self.url.rstrip("/")
        self.token = self.token.strip()
        try:
            parts = urlsplit(self.url)
            self._host, self._port = parts.hostname or "", parts.port
        except ValueError:
            raise ApiUnreachable(_bad_address(self.url)) from None
        if parts.scheme not in ("http", "https") or not self._host or parts.query or parts.fragment:
            raise ApiUnreachable(_bad_address(self.url))
        if not self.token.isprintable() or not self.token.isascii() or " " in self.token:
            raise ApiUnreachable("the token holds characters that no token has; check RIVET_TOKEN")
        self._secure, self._root = parts.scheme == "https", parts.path

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> tuple[int, Any]:
        """Send `body` (bytes as they are, anything else as JSON) and return the status and the parsed answer.

        The answer is what its JSON says, its bytes if it says that it is such (`application/octet-stream`),
        else its text, or None if it is empty. Raises ApiUnreachable.
        """
        response = self._send(method, path, body, headers or {}, timeout_s or self.timeout_s)
        try:
            raw = response.read(MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        if len(raw) > MAX_ANSWER_BYTES:
            self.close()
            raise ApiUnreachable(f"the answer of {self.url} to {path} is over {MAX_ANSWER_BYTES} bytes")
        return response.status, _parse(response, raw)

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        """As `request`, but return the answer alone. Raises ApiProblem for any status outside of 200-299."""
        status, answer = self.request(method, path, body, headers, timeout_s=timeout_s)
        if 200 <= status < 300:
            return answer
        raise _problem(status, answer, self.url)

    def lines(self, path: str) -> Iterator[bytes]:
        """The lines of an answer of any length as they come, each with its line feed. Raises as `blocks`."""
        for block in self.blocks(path):
            yield from block.splitlines(keepends=True) if b"\r" not in block else _at_line_feeds(block)

    def blocks(self, path: str) -> Iterator[bytes]:
        """An answer of any length as it comes, in blocks of whole lines.

        Raises ApiProblem, and ApiUnreachable if the answer breaks off or a line of it is over 8 MiB.
        """
        alone = Client(self.url, self.token, self.timeout_s)
        try:
            response = alone._send("GET", path, None, {}, self.timeout_s)
            if response.status != 200:
                raise _problem(response.status, _parse(response, response.read(MAX_ANSWER_BYTES)), self.url)
            rest = b""
            while block := response.read1(_BLOCK_BYTES):
                whole, feed, rest = (rest + block).rpartition(b"\n")
                if feed:
                    yield whole + feed
                if len(rest) > MAX_EVENT_BYTES:
                    raise ApiUnreachable(f"a line of {self.url}'s answer is over {MAX_EVENT_BYTES} bytes")
            if response.length:
                raise ApiUnreachable(f"the answer of {self.url} broke off; ask again")
            if rest:
                yield rest
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            alone.close()

    def events(
        self,
        run_id: str,
        last_event_id: str = "",
        *,
        give_up_after_s: float = 120.0,
        told: Callable[[str], None] | None = None,
    ) -> Iterator[Event]:
        """The events of a run, from the one after `last_event_id` to `end`, each once and in order.

        A broken connection is opened again and goes on where it was; `told` hears of that. Raises
        ApiUnreachable if nothing was heard for `give_up_after_s` seconds of trying, and ApiProblem if the
        API refuses.
        """
        position, wait_s = last_event_id, 0.2
        heard = time.monotonic()
        while True:
            try:
                for event in self._stream(run_id, position):
                    heard, wait_s = time.monotonic(), 0.2
                    position = event.id or position
                    yield event
                    if event.type == "end":
                        return
                why = "the stream ended before the run did"
            except _NothingFollows:
                return
            except ApiUnreachable as error:
                why = str(error)
            except ApiProblem as problem:
                if problem.status not in _WORTH_ANOTHER_TRY:
                    raise
                why = problem.detail
            if time.monotonic() - heard > give_up_after_s:
                raise ApiUnreachable(
                    f"{why}; gave up after {give_up_after_s:.0f} s. The run itself goes on: follow it again "
                    "with `rivet runs logs --follow`"
                )
            if told is not None:
                told(f"{why}; connecting again")
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 5.0)

    def upload(
        self, path: str, body: Callable[[], Iterable[bytes]], size: int, media_type: str
    ) -> Any:
        """PUT `size` bytes that `body` gives, piece by piece; it may be asked for them again.

        Raises ApiUnreachable and ApiProblem.
        """
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        response = self._send("PUT", path, body, headers, self.timeout_s)
        try:
            answer = _parse(response, response.read(MAX_ANSWER_BYTES))
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        if response.status >= 300:
            raise _problem(response.status, answer, self.url)
        return answer

    def close(self) -> None:
        """End this thread's connection; the next request opens another."""
        connection, self._local.connection = self._local.connection, None
        if connection is not None:
            connection.close()

    def _stream(self, run_id: str, position: str) -> Iterator[Event]:
        """One connection's worth of events. It has a connection of its own, so that requests go on beside."""
        headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": position} if position else {})
        alone = Client(self.url, self.token, SILENCE_S)
        try:
            response = alone._send("GET", f"/runs/{quote(run_id, safe='')}/events", None, headers, SILENCE_S)
            if response.status == 204:
                raise _NothingFollows
            if response.status != 200:
                raise _problem(response.status, _parse(response, response.read(MAX_ANSWER_BYTES)), self.url)
            yield from read_events(response.readline)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            alone.close()

    def _send(
        self, method: str, path: str, body: object, headers: Mapping[str, str], timeout_s: float
    ) -> http.client.HTTPResponse:
        if not path.startswith(_BESIDE_THE_API):
            path = "/api/v1" + path
        sent = {"Accept": "application/json", **headers}
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        payload: bytes | None = None
        if isinstance(body, bytes):
            payload = body
            sent.setdefault("Content-Type", "application/octet-stream")
        elif body is not None and not callable(body):
            payload = json.dumps(body, separators=(",", ":")).encode()
            sent.setdefault("Content-Type", "application/json")
        again = method in _MAY_BE_SENT_AGAIN or "Idempotency-Key" in sent
        while True:
            try:
                connection, reused = self._connection(timeout_s)
                connection.request(method, self._root + path, body() if callable(body) else payload, sent)
                return connection.getresponse()
            except (OSError, http.client.HTTPException) as error:
                self.close()
                # A kept connection may have been closed by the server in the very moment of sending.
                if not (reused and again and isinstance(error, ConnectionError)):
                    raise self._unreachable(error) from error

    def _connection(self, timeout_s: float) -> tuple[http.client.HTTPConnection, bool]:
        """This thread's connection, and whether it has been used before."""
        kept = self._local.connection if self._local.pid == os.getpid() else None
        if kept is not None and kept.sock is not None and _is_quiet(kept.sock):
            kept.sock.settimeout(timeout_s)
            return kept, True
        self.close()
        fresh: http.client.HTTPConnection
        if self._secure:
            fresh = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout_s, context=ssl.create_default_context()
            )
        else:
            fresh = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        self._local.connection, self._local.pid = fresh, os.getpid()
        return fresh, False

    def _unreachable(self, error: Exception) -> ApiUnreachable:
        return ApiUnreachable(f"the API at {self.url} does not answer: {_in_words(error)}")


def read_events(readline: Callable[[int], bytes]) -> Iterator[Event]:
    """The Server-Sent Events of a stream, until it ends. Pings and comments are passed over.

    Raises ApiUnreachable for a line or event that is too long or not ours.
    """
    identity, kind, data, size = "", "message", list[str](), 0
    while raw := readline(MAX_EVENT_BYTES + 1):
        size += len(raw)
        if size > MAX_EVENT_BYTES:
            raise ApiUnreachable(f"an event of the stream is over {MAX_EVENT_BYTES} bytes")
        if not raw.endswith(b"\n"):
            return  # cut off in the middle of a line: the event is not whole, and comes again
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "id":
                identity = value
            elif name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            continue
        if data:
            try:
                parsed = json.loads("\n".join(data))
            except ValueError:
                raise ApiUnreachable("an event of the stream is not JSON") from None
            if isinstance(parsed, dict):
                yield Event(identity, kind, parsed)
        kind, data, size = "message", [], 0


def _at_line_feeds(block: bytes) -> list[bytes]:
    lines = block.split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _is_quiet(sock: socket.socket) -> bool:
    """False if the server has closed a kept connection, or sent what nobody asked for."""
    try:
        poll = select.poll()
        poll.register(sock, select.POLLIN | select.POLLHUP | select.POLLERR)
        return not poll.poll(0)
    except (OSError, ValueError):
        return False


def _parse(response: http.client.HTTPResponse, raw: bytes) -> Any:
    if not raw:
        return None
    if "json" in (response.getheader("Content-Type") or ""):
        try:
            return json.loads(raw)
        except ValueError:
            return raw.decode("utf-8", "replace")
    if response.getheader("Content-Type") == "application/octet-stream":
        return raw
    return raw.decode("utf-8", "replace")


def _problem(status: int, answer: object, url: str) -> ApiProblem:
    if isinstance(answer, Mapping) and ("code" in answer or "detail" in answer or "title" in answer):
        known = {"status", "code", "detail", "title", "type", "instance"}
        return ApiProblem(
            status,
            str(answer.get("code") or f"http_{status}"),
            str(answer.get("detail") or answer.get("title") or f"the API answered {status}"),
            {name: value for name, value in answer.items() if name not in known},
        )
    return ApiProblem(status, f"http_{status}", f"{url} answered {status} with something that is not Rivet's")


def _bad_address(url: str) -> str:
    return f"{url!r} is not the address of an API; RIVET_URL looks like http://127.0.0.1:8080"


def _in_words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return "the connection broke off"
    if isinstance(error, socket.gaierror):
        return "its host name is not known"
    return (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__name__
