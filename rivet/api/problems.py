"""Everything that goes wrong, told in one shape: RFC 9457 `application/problem+json` with a stable `code`."""

import inspect
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from uuid import uuid4

from apiflask import APIFlask
from apiflask.exceptions import HTTPError
from flask import Response, request
from werkzeug.exceptions import HTTPException

from rivet.api.problem_text import MEDIA_TYPE, problem_text
from rivet.domain.errors import (
    Conflict,
    Expired,
    Fenced,
    Forbidden,
    InProgress,
    InvalidInput,
    InvalidPipeline,
    KeyReused,
    NotFound,
    RivetError,
    Unauthenticated,
    Unavailable,
    WrongProtocol,
)

_log = logging.getLogger(__name__)

RETRY_AFTER_S = "2"

STATUSES: Mapping[type[RivetError], int] = {
    InvalidInput: 422,
    InvalidPipeline: 422,
    NotFound: 404,
    Expired: 410,
    Conflict: 409,
    InProgress: 409,
    KeyReused: 422,
    Fenced: 409,
    WrongProtocol: 426,
    Unauthenticated: 401,
    Forbidden: 403,
    Unavailable: 503,
}
_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "timeout",
    413: "too_large",
    414: "too_large",
    415: "unsupported_media_type",
    421: "wrong_host",
    431: "too_large",
}
_IN_OUR_WORDS = {
    "Extra inputs are not permitted": "is not known here; /api/v1/openapi.json lists what is",
    "Field required": "is required and was not given",
}
_MOST_DRAINED = 64 * 1024 * 1024


def problem(
    status: int, code: str, detail: str, *, title: str = "", extra: Mapping[str, Any] | None = None
) -> Response:
    """An answer that is a problem. `extra` are further members, such as `findings`."""
    response = Response(problem_text(status, code, detail, title, extra), status, mimetype=MEDIA_TYPE)
    if status == 503 or code == InProgress.code:
        response.headers["Retry-After"] = RETRY_AFTER_S
    if status == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    if status == 426:
        response.headers["Upgrade"] = "rivet-protocol"
    return response


def register_problems(app: APIFlask) -> None:
    app.register_error_handler(RivetError, _of_ours)
    app.register_error_handler(HTTPError, _of_validation)
    app.register_error_handler(HTTPException, _of_http)
    app.register_error_handler(Exception, _of_a_defect)


def _of_ours(error: RivetError) -> Response:
    status = STATUSES.get(type(error))
    if status is None:
        return _of_a_defect(error)
    extra = {name: value for name, value in error.details.items() if name not in ("status", "code")}
    return problem(status, error.code, error.message, title=_first_sentence(type(error)), extra=extra)


def _of_validation(error: HTTPError) -> Response:
    """A body or query that does not fit its model: each field with what is wrong with it."""
    fields: dict[str, str] = {}
    detail: Any = error.detail if isinstance(error.detail, dict) else {}
    for place in detail.values():
        for name, messages in (place if isinstance(place, dict) else {}).items():
            said = "; ".join(_IN_OUR_WORDS.get(str(message), str(message)) for message in messages)
            fields["body" if name == "_schema" else name] = said.removeprefix("Value error, ")
    told = "; ".join(f"{name}: {said}" for name, said in fields.items())
    code = InvalidInput.code if error.status_code == 422 else _CODES.get(error.status_code, "error")
    return problem(error.status_code, code, told or str(error.message), extra={"fields": fields})


def _of_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status < 400:
        return Response(b"", status, dict(error.get_headers(request.environ)))
    detail = error.description or HTTPStatus(status).phrase
    if status == 404:
        detail = f"there is nothing at {request.path}; /api/v1/openapi.json lists what there is"
    if status == 405:
        allowed = ", ".join(sorted(getattr(error, "valid_methods", None) or ()))
        detail = f"{request.method} is not taken at {request.path}; what is: {allowed}"
    if status == 413:
        detail = f"the request's body is over {request.max_content_length or 0} bytes, which is the most here"
        if request.is_json:
            detail += "; a pipeline's source has at most 1 MiB (1048576 bytes)"
        _drain()
    answer = problem(status, _CODES.get(status, f"http_{status}"), detail)
    for name, value in error.get_headers(request.environ):
        if name not in ("Content-Type", "Content-Length"):
            answer.headers[name] = value
    return answer


def _drain() -> None:
    """Read on what is sent, within bounds: a client that is cut off in its sending sees no answer."""
    left = _MOST_DRAINED
    stream = request.environ["wsgi.input"]
    try:
        while left > 0 and (read := len(stream.read(min(left, 256 * 1024)))):
            left -= read
    except OSError:
        return


def _of_a_defect(error: Exception) -> Response:
    number = uuid4().hex[:12]
    _log.error("problem %s: %s %s", number, request.method, request.path, exc_info=error)
    return problem(
        500, "internal", f"something broke on our side; the server's log tells more under {number}"
    )


def _first_sentence(kind: type[RivetError]) -> str:
    return (inspect.getdoc(kind) or kind.__name__).split(";")[0].split(".")[0]
