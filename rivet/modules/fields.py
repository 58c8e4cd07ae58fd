"""Fields of module calls: what a declaration says of one, and how a value from Lua is checked against it."""

import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NewType

from rivet.domain.duration import read_duration
from rivet.domain.secret import Opaque, holds_opaque
from rivet.domain.wording import did_you_mean, lua_number, shown

MISSING: Any = object()
MAX_TEXT = 1024 * 1024
MAX_DURATION_S = 366 * 24 * 3600.0

Duration = NewType("Duration", float)
"""Seconds; in Lua a number, or a text such as `"90s"`, `"30m"`, `"2h"`."""
WorkspacePath = NewType("WorkspacePath", str)
"""A relative path that does not lead out of the workspace by its spelling."""
Glob = NewType("Glob", str)
"""A relative path in which `*`, `?`, `[a-z]` and `**` stand for more than themselves."""
Name = NewType("Name", str)
"""1 to 255 printable characters that do not begin with a dash."""
Secretive = NewType("Secretive", object)
"""Any value, secrets at any place in it. `Any` is one without any; a text or a secret is `str | Opaque`."""


class CallError(Exception):
    """A module's call was refused or failed: the message is what the script sees.

    `failed_command` carries the exit code of a command that ended wrongly, for the attempt's record.
    """

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Table:
    """The base of a table within a call's fields, with declared fields of its own."""

    declared: ClassVar[Mapping[str, "Field"]]
    hints: ClassVar[Mapping[str, Any]]

    def __init_subclass__(cls) -> None:
        cls.declared, cls.hints = declared_fields(cls)

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


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


def declared_fields(cls: type) -> tuple[dict[str, Field], dict[str, Any]]:
    """What a class says of its fields with `about`, and their types."""
    hints = typing.get_type_hints(cls)
    declared = {key: value for key in hints if isinstance(value := getattr(cls, key, None), Field)}
    return declared, {key: hints[key] for key in declared}


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
            values[key] = _bounded(_converted(hints[key], value, f"{title}: {key}"), declared)
        except _Unfit as unfit:
            told = f"{_given(value)}{_way_out(hints, value)}"
            raise CallError(f"{title}: {key}: expected {unfit}, given {told}") from None
    return values


class _Unfit(Exception):
    """What was expected instead."""


def _converted(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        if holds_opaque(value):
            raise _Unfit("a value without a secret in it")
        return value
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of([part for part in typing.get_args(hint) if part is not types.NoneType], value, where)
    if origin is list:
        if value == {}:
            return []
        if not isinstance(value, list):
            raise _Unfit(f"a list of {_plural(typing.get_args(hint)[0])}")
        return [_converted(typing.get_args(hint)[0], item, where) for item in value]
    if origin is dict:
        given = _named_values(value)
        return {key: _converted(typing.get_args(hint)[1], item, where) for key, item in given.items()}
    if isinstance(hint, type) and issubclass(hint, Table):
        return hint(**check_fields(where, hint.declared, hint.hints, _named_values(value)))
    return CONVERTERS[hint](value)


def _named_values(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise _Unfit("a table with text keys")
    return value


def _one_of(parts: Sequence[Any], value: Any, where: str) -> Any:
    expected = []
    for part in parts:
        try:
            return _converted(part, value, where)
        except _Unfit as unfit:
            expected.append(str(unfit))
    raise _Unfit(" or ".join(expected))


def _given(value: Any) -> str:
    holds = isinstance(value, list | dict) and holds_opaque(value)
    return "a table that holds a secret" if holds else shown(value)


def _way_out(hints: Mapping[str, Any], value: Any) -> str:
    """Where a secret may go that was given where none may."""
    if not holds_opaque(value):
        return ""
    takers = [f"`{name}`" for name, hint in hints.items() if _takes_secret(hint)]
    if takers:
        return f"; of this function's fields {' and '.join(takers)} may be one, or hold one"
    return (
        "; a secret can be handed on in `env` and `stdin` of process.run, `headers`, `json` and `body` "
        "of http, and `token` of git.clone"
    )


def _takes_secret(hint: Any) -> bool:
    return hint in (Opaque, Secretive) or any(_takes_secret(part) for part in typing.get_args(hint))


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
    if seconds > MAX_DURATION_S:
        raise _Unfit("a duration of at most a year")
    return seconds


def _name(value: Any) -> str:
    text = _text(value)
    if not 1 <= len(text) <= 255 or text.startswith("-") or not text.isprintable():
        raise _Unfit("a name of 1 to 255 printable characters that does not begin with a dash")
    return text


def _workspace_path(value: Any) -> str:
    # A name of bytes that are no UTF-8 comes from a list of files, and must find its file again.
    text = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else _text(value)
    parts = text.split("/")
    if not text or text.startswith("/") or ".." in parts or "\0" in text or len(text) > 4096:
        raise _Unfit("a relative path inside the workspace")
    return text


def _glob(value: Any) -> str:
    try:
        return _workspace_path(value)
    except _Unfit:
        raise _Unfit("a glob of paths inside the workspace") from None


def _raw(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    return _text(value).encode()


def _opaque(value: Any) -> Opaque:
    if not isinstance(value, Opaque):
        raise _Unfit("a secret")
    return value


CONVERTERS: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    bytes: _raw,
    int: _whole,
    float: _number,
    bool: _truth,
    Duration: _duration,
    Name: _name,
    WorkspacePath: _workspace_path,
    Opaque: _opaque,
    Secretive: lambda value: value,
    Glob: _glob,
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
    known = {str: "texts", int: "whole numbers", float: "numbers", WorkspacePath: "paths", Glob: "globs"}
    return known.get(hint, "values")
