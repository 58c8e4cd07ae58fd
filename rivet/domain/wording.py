"""How values and names appear in messages: short, of one line, in Lua's words."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from rivet.domain.pipeline import Function
from rivet.domain.secret import Opaque


def lua_number(value: float) -> str:
    """A number as Lua's `tostring` writes it."""
    return str(value) if isinstance(value, int) else f"{value:.14g}" if value % 1 else f"{value:.1f}"


def shown(value: Any) -> str:
    """What was given, for a message."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str() | bytes():
            text = value if isinstance(value, str) else value.decode(errors="replace")
            text = text if len(text) <= 80 else text[:77] + "..."
            return '"' + "".join(char if char.isprintable() else "?" for char in text) + '"'
        case int() | float():
            return lua_number(value)
        case Function():
            return "a function"
        case Opaque():
            return "a secret"
        case list() | tuple() | Mapping():
            return "a table" if value else "an empty table"
    return f"a {type(value).__name__.lower()}"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known one, or all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(names)}" if names else "; there are none"
