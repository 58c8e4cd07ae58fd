"""Every request has an id: the one that a proxy gave it, or a new one. Its log has it, and its answer."""

import logging
import re
import time
from uuid import uuid4

from flask import Flask, Response, g, request

from rivet.telemetry.logs import now_about

_log = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")


def register_request_ids(app: Flask) -> None:
    """Before anything else looks at a request. What it asks for is logged by its path, never by its query."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get(HEADER, "")
    g.request_id = given if _SANE.fullmatch(given) else uuid4().hex
    g.request_began = time.perf_counter()
    named = {name: value for name, value in (request.view_args or {}).items() if name in ("run", "job")}
    now_about(request=g.request_id, **named)


def _end(response: Response) -> Response:
    if "request_id" in g:
        response.headers[HEADER] = g.request_id
        if _log.isEnabledFor(logging.DEBUG):
            took_ms = (time.perf_counter() - g.request_began) * 1000
            _log.debug("%s %r: %d in %.1f ms", request.method, request.path, response.status_code, took_ms)
    return response
