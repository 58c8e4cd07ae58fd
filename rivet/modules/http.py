"""The Lua module `http`: requests to hosts that the pipeline's `permissions.hosts` name."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from rivet.domain.secret import SHOWN
from rivet.domain.wording import lua_number, shown
from rivet.modules.contract import Call, CallError, Duration, Opaque, Secretive, StageContext, about
from rivet.modules.json import read_json
from rivet.modules.output import unfit
from rivet.modules.web import Ask
from rivet.sandbox.frames import KeepNulls

MOST_BYTES = 3 * 1024 * 1024
MOST_SECONDS = 3600
_METHODS = "GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS"


class _Asked:
    """The fields that every function has."""

    url: str = about("http:// or https://, of a host in the pipeline's permissions.hosts", maximum=8192)
    headers: dict[str, str | Opaque] | None = about(
        "headers by name; a value may be a secret", default=None, maximum=50
    )
    query: dict[str, Any] | None = about(
        "what is added to the url behind `?`: texts, numbers, booleans, or lists of these", default=None
    )
    timeout: Duration = about(
        "how long all of it may take, redirects too", default=30.0, minimum=0.001, maximum=MOST_SECONDS
    )
    max_bytes: int = about(
        "how large the answer's body may be, unpacked", default=1024 * 1024, minimum=0, maximum=MOST_BYTES
    )


class _Sent(_Asked):
    """The fields of those that send something."""

    json: Secretive = about(
        "a value to send as JSON, secrets at any place in it; instead of `body`", default=None
    )
    body: bytes | Opaque | None = about(
        "what to send as it is; may be a secret", default=None, maximum=MOST_BYTES
    )


class Request(_Sent, Call, module="http"):
    """Send a request, and give what is answered, whatever its status.

    That is a table: `status`; `headers`, by their names in small letters; `body`, unpacked where it was
    packed with gzip; `json`, what the body holds where it says that it is JSON and is; and `url`, where the
    answer came from. At most 5 redirects are followed, each allowed as the first url must be. To another host
    go no headers but `accept`, `accept-language`, `content-type` and `user-agent`, and no body that holds a
    secret.
    """

    method: str = about(f"one of {_METHODS.replace('|', ', ')}", default="GET", pattern=_METHODS)
    example = 'local answer = http.request({ method = "HEAD", url = "https://example.org/" })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        return _answered(self, self.method, stage)


class Get(_Asked, Call, module="http", short=("url",)):
    """`http.request` with the method GET."""

    example = 'local release = http.get("https://api.example.org/releases/latest").json'

    def act(self, stage: StageContext) -> dict[str, Any]:
        return _answered(self, "GET", stage)


class Post(_Sent, Call, module="http", short=("url",)):
    """`http.request` with the method POST."""

    example = 'http.post({ url = "https://api.example.org/deploys", json = { version = "1.2.3" } })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        return _answered(self, "POST", stage)


class Put(_Sent, Call, module="http", short=("url",)):
    """`http.request` with the method PUT."""

    example = 'http.put({ url = "https://files.example.org/a.txt", body = fs.read("a.txt") })'

    def act(self, stage: StageContext) -> dict[str, Any]:
        return _answered(self, "PUT", stage)


class Delete(_Sent, Call, module="http", short=("url",)):
    """`http.request` with the method DELETE."""

    example = 'http.delete("https://api.example.org/environments/7")'

    def act(self, stage: StageContext) -> dict[str, Any]:
        return _answered(self, "DELETE", stage)


def _answered(call: Any, method: str, stage: StageContext) -> dict[str, Any]:
    title = call.title()
    json, body = getattr(call, "json", None), getattr(call, "body", None)
    if json is not None and body is not None:
        raise CallError(f"{title}: takes `json` or `body`, given both")
    trouble = unfit(_without_secrets(json), nul=True)
    if trouble is not None:
        raise CallError(f"{title}: json: expected something JSON can hold, given {trouble}")
    answer = stage.web.ask(
        Ask(
            title=title,
            method=method,
            url=_with_query(title, call.url, call.query),
            headers=call.headers or {},
            body=body,
            json=None if json is None else (json,),
            timeout_s=call.timeout,
            max_bytes=call.max_bytes,
        )
    )
    told: dict[str, Any] = {
        "status": answer.status,
        "url": answer.url,
        "headers": answer.headers,
        "body": answer.body,
    }
    if answer.is_json:
        try:
            told["json"] = KeepNulls(read_json(answer.body, title))
        except CallError:
            # The body is there, and json.decode says what is wrong with it.
            pass
    return told


def _without_secrets(value: Any) -> Any:
    match value:
        case Opaque():
            return SHOWN
        case dict():
            return {key: _without_secrets(item) for key, item in value.items()}
        case list():
            return [_without_secrets(item) for item in value]
    return value


def _with_query(title: str, url: str, query: dict[str, Any] | None) -> str:
    if not query:
        return url
    pairs = [(name, text) for name, value in query.items() for text in _texts(title, name, value)]
    whole, mark, fragment = url.partition("#")
    joint = "" if whole.endswith(("?", "&")) else "&" if "?" in whole else "?"
    return f"{whole}{joint}{urlencode(pairs)}{mark}{fragment}"


def _texts(title: str, name: str, value: Any) -> Iterator[str | bytes]:
    for item in value if isinstance(value, list) else [value]:
        match item:
            case bool():
                yield "true" if item else "false"
            case str() | bytes():
                yield item
            case int() | float():
                yield lua_number(item)
            case _:
                expected = "expected a text, a number, a boolean, or a list of these"
                raise CallError(f"{title}: query: {name}: {expected}, given {shown(item)}")
