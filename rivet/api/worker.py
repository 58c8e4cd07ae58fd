"""gunicorn's threaded worker, which tells in our shape what is wrong with a request that it cannot read.

It is loaded before the application, by the process above the workers: it imports little.
"""

import contextlib
from http import HTTPStatus
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import ThreadWorker

from rivet.api.problem_text import MEDIA_TYPE, problem_text

_TOO_LARGE = {errors.LimitRequestLine: 414, errors.LimitRequestHeaders: 431}


class ProblemWorker(ThreadWorker):
    """`--worker-class rivet.api.worker.ProblemWorker`."""

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that cannot be read, or whose answer broke before it was begun."""
        where = (addr or ("",))[0]
        status, code, detail = _told(exc)
        if status == 500:
            self.log.error("a request from %s broke", where, exc_info=exc)
        else:
            self.log.warning("a request from %s cannot be read: %s", where, str(exc)[:200])
        body = problem_text(status, code, detail).encode()
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nConnection: close\r\n"
            f"Content-Type: {MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + body)


def _told(exc: BaseException) -> tuple[int, str, str]:
    for kind, status in _TOO_LARGE.items():
        if isinstance(exc, kind):
            return status, "too_large", f"the request's first line or its headers are too long: {exc}"
    if isinstance(exc, errors.ParseException):
        return 400, "bad_request", f"this is no request of HTTP/1.1: {str(exc)[:200]}"
    return 500, "internal", "something broke on our side; the server's log tells more"
