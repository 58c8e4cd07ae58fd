"""Errors with a stable code. The docstring says what the code means; the message says what happened."""

from collections.abc import Mapping
from typing import Any, ClassVar


class RivetError(Exception):
    """Something that a person or a program is told about, by its code and message."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: Mapping[str, Any] = details


class InvalidInput(RivetError):
    """A field of what was sent is missing, of the wrong type, or out of range."""

    code = "invalid_input"


class InvalidPipeline(RivetError):
    """The Lua file is not a pipeline; `findings` in the details has each place."""

    code = "invalid_pipeline"


class NotFound(RivetError):
    """Nothing of that name or id is there, or you may not see it."""

    code = "not_found"


class Expired(RivetError):
    """It was there, and is no longer kept; `expired_at` in the details says since when."""

    code = "expired"


class Conflict(RivetError):
    """What was asked for does not fit the present state."""

    code = "conflict"


class InProgress(RivetError):
    """The first request with this Idempotency-Key is not answered yet; ask again in a moment."""

    code = "in_progress"


class KeyReused(RivetError):
    """The Idempotency-Key came with another request before; each request needs a key of its own."""

    code = "key_reused"


class Fenced(RivetError):
    """Another has taken over: the job's epoch or holder has changed, or the runner's session is not known."""

    code = "fenced"


class WrongProtocol(RivetError):
    """Runner and control speak protocols that do not overlap; `theirs` and `ours` say which."""

    code = "wrong_protocol"


class Unauthenticated(RivetError):
    """No token was sent, or it is wrong, expired or revoked."""

    code = "unauthenticated"


class Forbidden(RivetError):
    """The token is known but may not do this."""

    code = "forbidden"


class Unavailable(RivetError):
    """PostgreSQL or Redis does not answer; try again later."""

    code = "unavailable"


class IllegalMove(RivetError):
    """A state was asked to follow another that it may not follow: a defect of ours."""

    code = "illegal_move"


class BadRecord(RivetError):
    """Bytes that should be a journal record are not one."""

    code = "bad_record"
