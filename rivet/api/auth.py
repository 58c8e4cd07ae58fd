"""Who asks: bearer tokens of two kinds, and the tickets of claimed jobs."""

import threading
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import g, request

from rivet.api.desk import the_web
from rivet.domain.errors import Forbidden, Unauthenticated
from rivet.domain.ids import JobId
from rivet.engine.ports import Token
from rivet.keyring import Ticket, hash_token

View = TypeVar("View", bound=Callable[..., Any])

KNOWN_FOR_S = 2.0
_MAX_TOKEN = 512
_MOST_KNOWN = 1000

_known: dict[bytes, tuple[Token, float]] = {}
_guard = threading.Lock()


def needs_admin(view: View) -> View:
    """Only for an admin's token."""
    return _needs("admin", view)


def needs_runner(view: View) -> View:
    """Only for a runner's token: the runner protocol."""
    return _needs("runner", view)


def _needs(kind: str, view: View) -> View:
    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        token = _token_of_request()
        if token.kind != kind:
            raise Forbidden(
                f"this needs a token of kind {kind}; the one sent is of kind {token.kind} "
                f'and named "{token.name}"'
            )
        g.token = token
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]


def ticket_for(job: JobId) -> Ticket:
    """The ticket of this request, which must be for that job. Raises Unauthenticated, Forbidden."""
    ticket = the_web().tickets.read(_bearer("a job's ticket"))
    if ticket.job != job:
        raise Forbidden("the ticket is for another job")
    return ticket


def _token_of_request() -> Token:
    token_hash = hash_token(_bearer("a token"))
    with _guard:
        token, until = _known.get(token_hash, (None, 0.0))
    if token is not None and time.monotonic() < until:
        return token
    with the_web().store.begin() as tx:
        token = tx.tokens.by_hash(token_hash)
    if token is None:
        raise Unauthenticated("the token is not known, or was revoked; check RIVET_TOKEN")
    with _guard:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[token_hash] = (token, time.monotonic() + KNOWN_FOR_S)
    return token


def _bearer(what: str) -> str:
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    sent = sent.strip()
    if scheme.lower() != "bearer" or not sent or len(sent) > _MAX_TOKEN:
        raise Unauthenticated(f"send {what}: `Authorization: Bearer …` (the command line reads RIVET_TOKEN)")
    return sent
