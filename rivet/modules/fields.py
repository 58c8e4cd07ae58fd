"""Fields of module calls: what a declaration says of one, and how a value from Lua is checked against it."""

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NewType

from rivet.domain.duration import read_duration
from rivet.domain.wording import did_you_mean, lua_number, shown

MISSING: Any = object()
MAX_TEXT = 1024 * 1024

Duration = NewType("Duration", float)
"""Seconds; in Lua a number, or a text such as `"90s"`, `"30m"`, `"2h"`."""
WorkspacePath = NewType("WorkspacePath", str)
"""A relative path that does not lead out of the workspace by its spelling."""
Name = NewType("Name", str)
"""1 to 255 printable characters that do not begin with a dash."""


class CallError(Exception):
    """A module's call was refused or failed: the message is what the script sees.

    `failed_command` carries the exit code of a command that ended wrongly, for the attempt's record.
    """

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Field:
    description: str
    default: Any = MISSING
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None


def about(
    description: str,
    *,
    default: Any = MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    pattern: str | None = None,
) -> Any:
    """Say what a field is. `minimum` and `maximum` bound a number, or the length of a text or list."""
    return Field(description, default, minimum, maximum, pattern)


def check_fields(
    title: str, fields: Mapping[str, Field], hints: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The values of all `fields` of the call `title`, of the types `hints`. Raises CallError."""
    for key in given:
        if key not in fields:
            raise CallError(f'{title}: has no field "{key}"{did_you_mean(key, fields)}')
    values: dict[str, Any] = {}
    for key, declared in fields.items():
        value = given.get(key)
        if value is None:
            if declared.default is MISSING:
                raise CallError(
                    f"{title}: {key}: is required ({declared.description}), given nothing"
                )
            values[key] = declared.default
            continue
        try:
            values[key] = _bounded(_converted(hints[key], value), declared)
        except _Unfit as unfit:
            raise CallError(f"{title}: {key}: expected {unfit}, given {shown(value)}") from None
    return values


class _Unfit(Exception):
    """What was expected instead."""


def _converted(hint: Any, value: Any) -> Any:
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of([part for part in typing.get_args(hint) if part is not types.NoneType], value)
    if origin is list:
        if value == {}:
            return []
        if not isinstance(value, list):
            raise _Unfit(f"a list of {_plural(typing.get_args(hint)[0])}")
        return [_converted(typing.get_args(hint)[0], item) for item in value]
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise _Unfit("a table with text keys")
        return {key: _converted(typing.get_args(hint)[1], item) for key, item in value.items()}
    return CONVERTERS[hint](value)


def _one_of(parts: Sequence[Any], value: Any) -> Any:
    expected = []
    for part in parts:
        try:
            return _converted(part, value)
        except _Unfit as unfit:
            expected.append(str(unfit))
    raise _Unfit(" or ".join(expected))


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        raise _Unfit("a text of valid UTF-8")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Unfit("a text")
    return value if isinstance(value, str) else lua_number(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        raise _Unfit("a whole number")
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise _Unfit("a number")
    return value


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _Unfit("true or false")
    return value


def _duration(value: Any) -> float:
    seconds = read_duration(value)
    if seconds is None:
        raise _Unfit('a duration such as 90, "90s", "30m" or "2h"')
    return seconds


def _name(value: Any) -> str:
    text = _text(value)
    if not 1 <= len(text) <= 255 or text.startswith("-") or not text.isprintable():
        raise _Unfit("a name of 1 to 255 printable characters that does not begin with a dash")
    return text


def _workspace_path(value: Any) -> str:
    text = _text(value)
    parts = text.split("/")
    if not text or text.startswith("/") or ".." in parts or "\0" in text or len(text) > 4096:
        raise _Unfit("a relative path inside the workspace")
    return text


def _raw(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _text(value).encode()


CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    bytes: _raw,
    int: _whole,
    float: _number,
    bool: _truth,
    Duration: _duration,
    Name: _name,
    WorkspacePath: _workspace_path,
}


def _bounded(value: Any, declared: Field) -> Any:
    size = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    unit = ""
    if isinstance(value, str | bytes | list | dict):
        size, unit = len(value), " bytes long" if isinstance(value, str | bytes) else " entries long"
        if isinstance(value, str | bytes) and declared.maximum is None and size > MAX_TEXT:
            raise _Unfit(f"at most {MAX_TEXT}{unit}")
    if size is not None and declared.minimum is not None and size < declared.minimum:
        raise _Unfit(f"at least {declared.minimum:g}{unit}")
    if size is not None and declared.maximum is not None and size > declared.maximum:
        raise _Unfit(f"at most {declared.maximum:g}{unit}")
    if declared.pattern is not None and isinstance(value, str) and not re.fullmatch(declared.pattern, value):
        raise _Unfit(f"a text that matches {declared.pattern}")
    return value


def _plural(hint: Any) -> str:
    return {str: "texts", int: "whole numbers", float: "numbers", WorkspacePath: "paths"}.get(hint, "values")
