"""What every request must pass before anything looks at it: its host, its media type, a patient reader."""

import ipaddress
import json
import math
from typing import Any, NoReturn
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, request
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, UnsupportedMediaType

from rivet.api.desk import the_web
from rivet.api.operation import said_of
from rivet.api.problems import problem

MAX_BODY_BYTES = 4 * 1024 * 1024
SOCKET_TIMEOUT_S = 60.0
"""A client that neither sends nor reads for so long loses its connection, and we get our thread back."""


class JsonRequest(Request):
    """A request whose missing body is told as such."""

    def on_json_loading_failed(self, e: ValueError | None) -> NoReturn:
        raise BadRequest("the body is missing: send a JSON object, with Content-Type: application/json")


def register_gate(app: Flask) -> None:
    app.request_class = JsonRequest
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    app.before_request(_bound_the_socket)
    app.before_request(_check_host)
    app.before_request(_check_body)
    app.after_request(_close_doors)


def _bound_the_socket() -> None:
    sock = request.environ.get("gunicorn.socket")
    if sock is not None:
        sock.settimeout(SOCKET_TIMEOUT_S)


def _check_host() -> Response | None:
    """A page of a stranger that resolves its own name to us must not get an answer."""
    web = the_web()
    name = _host_name(request.environ.get("HTTP_HOST", ""))
    if name in web.host_names() or (_is_address(name) and not _is_loopback(web.settings.host)):
        return None
    return problem(
        421,
        "wrong_host",
        f'the host "{name[:100]}" is none of this server\'s names; '
        f"use {web.base_url}, or set RIVET_URL where the server is started",
    )


def _host_name(header: str) -> str:
    try:
        return (urlsplit(f"//{header}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _check_body() -> None:
    """JSON alone is taken, and only texts that can be stored. Raises what Flask makes a 4xx of."""
    if request.routing_exception is not None:
        return  # there is no such route: that is what is told
    if said_of(current_app.view_functions.get(request.endpoint or "")).body is not None:
        return
    if request.method not in ("POST", "PUT", "PATCH") or not has_body():
        return
    if request.mimetype != "application/json":
        given = request.mimetype or "nothing"
        raise UnsupportedMediaType(f"Content-Type is {given}; what is taken is application/json")
    raw = request.get_data(cache=True)
    if request.content_length is None and len(raw) >= MAX_BODY_BYTES:
        raise RequestEntityTooLarge  # what has no length is read up to the bound, and no further
    try:
        text = raw.decode()
        parsed = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} ({error.reason})") from None
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not JSON: {where}: {error.msg}") from None
    except _NoNumber as error:
        raise BadRequest(f"the body holds {error}: no number of JSON, or too large for one") from None
    except (RecursionError, ValueError):
        raise BadRequest("the body cannot be read: nested too deep, or a number too long") from None
    if not isinstance(parsed, dict):
        raise BadRequest("the body is JSON, and must be an object: {…}")
    if "\\u0000" in text or "\\ud" in text.lower():
        _refuse_unstorable(parsed, "body")


class _NoNumber(Exception):
    """What stands in the place of a number; the message is its beginning."""


def _no_number(text: str) -> NoReturn:
    raise _NoNumber(text[:40])


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


def has_body() -> bool:
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def _refuse_unstorable(value: Any, place: str) -> None:
    match value:
        case str() if "\0" in value:
            raise BadRequest(f"{place}: holds U+0000 at character {value.index(chr(0)) + 1}; no text may")
        case str():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                raise BadRequest(
                    f"{place}: holds half of a surrogate pair at character {error.start + 1}"
                ) from None
        case dict():
            for name, item in value.items():
                _refuse_unstorable(name, f"{place}: a name")
                _refuse_unstorable(item, f"{place}.{name}")
        case list():
            for number, item in enumerate(value):
                _refuse_unstorable(item, f"{place}[{number}]")


def _close_doors(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"
    return response
