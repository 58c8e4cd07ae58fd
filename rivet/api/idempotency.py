"""`Idempotency-Key`: a request that is sent again, because its answer was lost, is not carried out again.

The answer of a request that changed something is kept for a day, sealed, and told again word for word. What
was refused has changed nothing, and may be asked anew under its key.
"""

import functools
import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable
from typing import Any, TypeVar, cast
from uuid import UUID

from flask import Response, current_app, g, request

from rivet.api.desk import the_token, the_web
from rivet.api.gate import has_body
from rivet.api.operation import note
from rivet.api.problems import STATUSES
from rivet.domain.errors import InProgress, InvalidInput, KeyReused
from rivet.engine.forget_answers import KEPT_S
from rivet.engine.kept_ports import Begun

View = TypeVar("View", bound=Callable[..., Any])

HEADER = "Idempotency-Key"
PATIENCE_S = 30.0
"""No request of ours takes as long: whoever began it so long ago and never answered has died."""
WAIT_S, LOOK_S = 2.0, 0.05
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_KEPT_HEADERS = ("Content-Type", "Location")


def once(view: View) -> View:
    """The route takes an Idempotency-Key. Goes beneath `needs_…`, and above what checks the body."""

    @functools.wraps(view)
    def kept(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(HEADER)
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise InvalidInput(f"{HEADER}: expected 1 to 255 printable characters without spaces")
        begun = _begun(key)
        if begun.answer is not None:
            return _again(begun.answer, key)
        g.made_id = begun.made
        try:
            response = current_app.make_response(view(*args, **kwargs))
        except Exception:
            _release(key)
            raise
        if response.status_code >= 300:
            _release(key)
        else:
            _note(key, response)
        return response

    said = note(kept)
    said.headers[HEADER] = (
        "Names the request: sent again within 24 hours, it is not carried out again but answered as before."
    )
    for error in (InProgress, KeyReused, InvalidInput):
        said.refusals.setdefault(STATUSES[error], set()).add(error.code)
    return cast(View, kept)


def made_id() -> UUID | None:
    """The id for what this request makes, where it came with a key: the same however often it comes."""
    return cast(UUID | None, g.get("made_id"))


def _begun(key: str) -> Begun:
    """Ours to carry out, or answered. Raises KeyReused, and InProgress where another takes too long."""
    web, token, asked = the_web(), the_token().id, _digest()
    until = time.monotonic() + WAIT_S
    while True:
        with web.store.begin() as tx:
            begun = tx.answered.begin(
                token, key, asked, web.ids.uuid(), keep_s=KEPT_S, patience_s=PATIENCE_S
            )
        if begun is not None:
            if begun.request != asked:
                raise KeyReused(
                    f"{HEADER}: {key[:80]} came with another request before; give each request its own"
                )
            if begun.is_mine or begun.answer is not None:
                return begun
        if time.monotonic() > until:
            raise InProgress(f"{HEADER}: the first request of this key is still being answered; ask again")
        time.sleep(LOOK_S)


def _digest() -> bytes:
    """What is asked, however its JSON is written."""
    body = json.loads(request.get_data(cache=True)) if has_body() else {}
    told = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{request.method}\0{request.full_path}\0{told}".encode()).digest()


def _note(key: str, response: Response) -> None:
    headers = [(name, response.headers[name]) for name in _KEPT_HEADERS if name in response.headers]
    told = {"status": response.status_code, "headers": headers, "body": response.get_data(as_text=True)}
    web = the_web()
    sealed = web.answers.seal(zlib.compress(json.dumps(told).encode(), 1), _place(key))
    with web.store.begin() as tx:
        tx.answered.note(the_token().id, key, sealed)


def _again(answer: bytes, key: str) -> Response:
    opened = the_web().answers.open(answer, _place(key))
    if opened is None:
        raise KeyReused(f"{HEADER}: {key[:80]} was answered under another RIVET_SECRET_KEY; take another one")
    told = json.loads(zlib.decompress(opened))
    return Response(told["body"], told["status"], headers=[tuple(header) for header in told["headers"]])


def _release(key: str) -> None:
    with the_web().store.begin() as tx:
        tx.answered.release(the_token().id, key)


def _place(key: str) -> str:
    return f"{the_token().id} {key}"
