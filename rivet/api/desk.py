"""What a request works with: the process's adapters, and who asks."""

from typing import cast

from flask import current_app, g

from rivet.engine.ports import Token
from rivet.wiring.web import Web

_KEY = "rivet"


def put_web(extensions: dict[str, object], web: Web) -> None:
    extensions[_KEY] = web


def the_web() -> Web:
    return cast(Web, current_app.extensions[_KEY])


def the_token() -> Token:
    """The token of this request; only behind `needs_admin` or `needs_runner`."""
    return cast(Token, g.token)
