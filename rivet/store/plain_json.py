"""Values as JSON text that PostgreSQL takes: what it cannot hold is written so that it can."""

import json
from typing import Any

from rivet.domain.log import ESCAPE

_NUL = chr(ESCAPE)


def to_json(value: Any) -> str:
    """JSON text of `value`.

    U+0000 and lone surrogates, which PostgreSQL refuses, and numbers that JSON has not (infinities, NaN) can
    only come from outside: they become U+F700, U+FFFD and texts. Raises TypeError for what is no JSON.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    if "\\u0000" in text or "\\ud" in text:
        return json.dumps(_plain(value), separators=(",", ":"), allow_nan=False)
    return text


def storable(text: str) -> str:
    """A text that PostgreSQL takes."""
    if "\0" in text:
        text = text.replace("\0", _NUL)
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode() if _has_surrogate(text) else text


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return storable(str(value))
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    if isinstance(value, dict):
        return {storable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
