"""Bodies of requests: what they are checked against, and those that may be left out."""

import functools
import io
from collections.abc import Callable
from typing import Annotated, ParamSpec, TypeVar
from uuid import UUID

from flask import request
from pydantic import BaseModel, ConfigDict, Field

from rivet.api.operation import note

P = ParamSpec("P")
R = TypeVar("R")

MOST_NUMBER = 2**31 - 1
"""The highest of what is counted: epochs, attempts, versions."""

Id = Annotated[UUID, Field(strict=False)]
"""A UUID, which JSON has as text."""


class Body(BaseModel):
    """What people and their programs send: a field that is not known is refused, and nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class RunnerBody(BaseModel):
    """What runners send. Unknown fields are passed over: a newer runner may say more."""

    model_config = ConfigDict(extra="ignore", strict=True)



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

    note(with_body).may_have_no_body = True
    return with_body
