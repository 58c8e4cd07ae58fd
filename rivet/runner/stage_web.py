"""What `http` does for a stage: each step of a request is checked against both grants, and ends with it."""

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from rivet.domain.secret import Opaque, holds_opaque
from rivet.modules.contract import CallError
from rivet.modules.web import Answer, Ask
from rivet.runner.http_exchange import PORTS, Line, NotAnswered, Sending, exchange
from rivet.runner.reach import ReachPolicy, Refused, is_named, resolve

MOST_REDIRECTS = 5
LOOK_S = 0.05

_REDIRECTS = (301, 302, 303, 307, 308)
_KEEPS_METHOD = (307, 308)
_GO_ANYWHERE = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_OURS = frozenset({
    "accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}", re.ASCII)
_UNFIT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_UNFIT_IN_URL = re.compile(r"[\x00-\x20\x7f\\]")
_SAFE = "%/:=&?~#+!$,;'@()*[]"

Join = Callable[[Opaque], bytes]
Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class StageWeb:
    """The contract's `Web`. `hosts` are the pipeline's half, `reach` is the operator's.

    `join` puts secrets in their place, `mask` takes them out of what comes back, `go_on` raises where the
    stage is to stop.
    """

    hosts: tuple[str, ...]
    reach: ReachPolicy
    join: Join
    mask: Callable[[bytes], bytes]
    say: Say
    go_on: Callable[[], None]

    def ask(self, ask: Ask) -> Answer:
        """Raises CallError, and what `go_on` raises."""
        begun = time.monotonic()
        line = Line()
        self.go_on()
        sending = Sending(
            ask.method, _read_url(ask.title, ask.url), self._headers(ask), self._body(ask), ask.max_bytes,
            begun + ask.timeout_s,
        )  # fmt: skip
        asked = _Asked(self, ask, sending, line)
        thread = threading.Thread(target=asked.run, name="stage-http", daemon=True)
        thread.start()
        try:
            while not asked.is_over.wait(LOOK_S):
                self.go_on()
                if time.monotonic() > sending.until:
                    raise CallError(
                        f"{ask.title}: {asked.shown} was given up after its timeout of {ask.timeout_s:g} s"
                    )
        finally:
            line.break_off()
        self.go_on()
        if asked.answer is None:
            raise asked.failure or CallError(f"{ask.title}: {asked.shown} gave no answer")
        answer = replace(asked.answer, body=self.mask(asked.answer.body))
        took = time.monotonic() - begun
        self.say("debug", f"{ask.method} {asked.shown}: {answer.status}, {_size(answer)}, {took:.1f} s")
        return answer

    def check(self, title: str, sending: Sending) -> list[Any]:
        """The addresses to connect to, resolved once. Raises CallError."""
        host, port = sending.host, sending.port
        if not is_named(self.hosts, host, port):
            named = host if port in PORTS.values() else f"{host}:{port}"
            raise CallError(
                f'{title}: url: {host}:{port} is not granted to this pipeline: add "{named}" to its '
                f"permissions = {{ hosts = {{ … }} }}"
            )
        try:
            return list(resolve(self.reach, host, port))
        except Refused as refused:
            raise CallError(f"{title}: url: {refused}") from None

    def _headers(self, ask: Ask) -> Mapping[str, bytes]:
        headers: dict[str, bytes] = {}
        if ask.json is not None:
            headers["content-type"] = b"application/json"
        for name, value in ask.headers.items():
            if not _HEADER.fullmatch(name):
                raise CallError(f"{ask.title}: headers: a name is one that no header can have")
            if name.lower() in _OURS or name.lower().startswith("proxy-"):
                raise CallError(f"{ask.title}: headers: {name} is Rivet's to set; leave it out")
            raw = self.join(value) if isinstance(value, Opaque) else value.encode()
            # A file's last line end is no part of what was meant.
            raw = raw.strip() if isinstance(value, Opaque) else raw
            if _UNFIT_IN_VALUE.search(raw):
                raise CallError(
                    f"{ask.title}: headers: {name}: expected one line of text; it holds a control character"
                )
            headers[name.lower()] = raw
        return headers

    def _body(self, ask: Ask) -> bytes | None:
        if ask.json is not None:
            return json.dumps(_joined(ask, ask.json[0], self.join), ensure_ascii=False).encode()
        return self.join(ask.body) if isinstance(ask.body, Opaque) else ask.body


class _Asked:
    """A request under way, in a thread of its own: a name that is slow to resolve holds nobody up."""

    def __init__(self, web: StageWeb, ask: Ask, first: Sending, line: Line) -> None:
        self._web, self._ask, self._first, self._line = web, ask, first, line
        self.shown = first.shown
        self.is_over = threading.Event()
        self.answer: Answer | None = None
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            self.answer = self._followed()
        except CallError as error:
            self.failure = error
        except NotAnswered as error:
            self.failure = CallError(f"{self._ask.title}: {self.shown}: {error}")
        except Exception as broken:  # noqa: BLE001
            # Ours: it is raised where the stage is run, which says so.
            self.failure = broken
        finally:
            self.is_over.set()

    def _followed(self) -> Answer:
        sending = self._first
        for _ in range(MOST_REDIRECTS + 1):
            self.shown = sending.shown
            answer = exchange(sending, self._web.check(self._ask.title, sending), self._line)
            place = answer.headers.get("location")
            if answer.status not in _REDIRECTS or place is None:
                return answer
            sending = self._redirected(sending, answer.status, place)
        raise NotAnswered(f"it redirects more than {MOST_REDIRECTS} times")

    def _redirected(self, sending: Sending, status: int, place: bytes) -> Sending:
        title = self._ask.title
        try:
            url = _read_url(title, urljoin(sending.url.geturl(), place.decode("latin-1")))
        except (CallError, ValueError):
            raise NotAnswered("it redirects to what is no http or https URL") from None
        method, body, headers = sending.method, sending.body, dict(sending.headers)
        becomes_get = status == 303 or (status not in _KEEPS_METHOD and method == "POST")
        if becomes_get and method != "HEAD":
            method, body = "GET", None
            headers.pop("content-type", None)
        following = replace(sending, method=method, url=url, headers=headers, body=body)
        if sending.url.scheme == "https" and url.scheme == "http":
            raise NotAnswered(f"it redirects from https to {following.shown}, where anyone can read along")
        if following.origin == sending.origin:
            return following
        if body is not None and holds_opaque([self._ask.body, *(self._ask.json or ())]):
            raise NotAnswered(
                f"it redirects to {following.shown}, and the body holds a secret, which goes to no other "
                "host: give that url if it is to have it"
            )
        return replace(
            following, headers={name: value for name, value in headers.items() if name in _GO_ANYWHERE}
        )


def _read_url(title: str, url: str) -> SplitResult:
    """Raises CallError. What is not ASCII is written as URLs have it, but for the host."""
    if _UNFIT_IN_URL.search(url):
        raise CallError(f"{title}: url: holds a space, a backslash or a control character, which no URL can")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise CallError(f"{title}: url: is no URL: its host or its port cannot be read") from None
    if parts.scheme not in PORTS or not host or port == 0:
        raise CallError(f"{title}: url: expected http://… or https://…, given {_place(parts)}")
    if parts.username is not None or parts.password is not None:
        raise CallError(
            f"{title}: url: holds a user name or password, which would get into logs; "
            "hand them on in the header Authorization"
        )
    return parts._replace(
        path=quote(parts.path, safe=_SAFE), query=quote(parts.query, safe=_SAFE), fragment=""
    )


def _place(parts: SplitResult) -> str:
    return f'"{parts.scheme}:…"' if parts.scheme else "one without either"


def _joined(ask: Ask, value: Any, join: Join) -> Any:
    match value:
        case Opaque():
            try:
                return join(value).decode()
            except UnicodeDecodeError:
                raise CallError(
                    f"{ask.title}: json: a secret in it holds bytes that are no text; send it as `body`"
                ) from None
        case dict():
            return {key: _joined(ask, item, join) for key, item in value.items()}
        case list():
            return [_joined(ask, item, join) for item in value]
    return value


def _size(answer: Answer) -> str:
    return "1 byte" if len(answer.body) == 1 else f"{len(answer.body)} bytes"
