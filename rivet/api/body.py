"""Requests whose body may be left out."""

import functools
import io
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from flask import request

P = ParamSpec("P")
R = TypeVar("R")


def may_have_no_body(view: Callable[P, R]) -> Callable[P, R]:
    """No body means what `{}` means. Goes above `input`, which would ask for one."""

    @functools.wraps(view)
    def with_body(*args: P.args, **kwargs: P.kwargs) -> R:
        chunked = request.environ.get("HTTP_TRANSFER_ENCODING")
        if not chunked and request.environ.get("CONTENT_LENGTH") in (None, "", "0"):
            request.environ["CONTENT_LENGTH"] = "2"
            request.environ["CONTENT_TYPE"] = "application/json"
            request.environ["wsgi.input"] = io.BytesIO(b"{}")
        return view(*args, **kwargs)

    return with_body
