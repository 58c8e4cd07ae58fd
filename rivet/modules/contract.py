"""The one declaration of a module's function: validation, binding, stub and reference come from it.

    class Get(Call, module="env", short=("name", "default")):
        '''The value of a variable or parameter.'''

        name: str = about("the variable's name")
        default: str | None = about("what to give where it is not set", default=None)

        def act(self, stage: StageContext) -> str | None: ...

A call in Lua takes one table, or the short form's values in order. Every field is checked before `act`
is reached; what is wrong raises `CallError`, whose message names module, function, field, what was given
and what is expected.
"""

import difflib
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NewType, Protocol

from rivet.domain.duration import read_duration

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


@dataclass(frozen=True, slots=True)
class Process:
    """A command that ended by itself in the stage's room.

    `tail` are the last lines it wrote, `hint` what may help whose command failed so (empty: nothing).
    """

    exit_code: int
    stdout: bytes
    stderr: bytes
    seconds: float
    tail: Sequence[str]
    hint: str = ""


class StageContext(Protocol):
    """What a module's function may use of the stage it is called in: its only way to act."""

    env: Mapping[str, str]
    """Variables and parameters as `env` sees them: pipeline, stage, inputs as text."""

    inputs: Mapping[str, Any]
    """The run's parameters, typed as declared."""

    outputs: dict[str, Any]
    """Values set by this and earlier stages; `set_output` writes."""

    facts: Mapping[str, Any]
    """The recorded values of `run`: id, number, pipeline, project, trigger, actor."""

    def say(self, level: str, text: str) -> None:
        """One entry of the log, `debug`, `info`, `warn` or `error`; may have several lines."""

    def set_output(self, name: str, value: Any) -> None: ...

    def set_summary(self, markdown: str) -> None: ...

    def run_process(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        stdin: bytes | None,
        timeout_s: float | None,
        capture: bool,
        quiet: bool = False,
    ) -> Process:
        """Run a command in the stage's room until it ends. Its output goes to the log unless `quiet`.

        Raises CallError where it cannot be started, runs out of time, or was cancelled.
        """

    def fetch_git(self, url: str, ref: str | None, commit: str | None, depth: int, path: str) -> str:
        """Bring a repository into `path`, in a room of its own for the network half; the commit's hash."""


class Call:
    """The base of every declaration: subclasses are modules' functions."""

    of_module: ClassVar[str]
    function: ClassVar[str]
    short_form: ClassVar[tuple[str, ...]]
    oneway: ClassVar[bool]
    declared: ClassVar[Mapping[str, Field]]
    hints: ClassVar[Mapping[str, Any]]
    example: ClassVar[str] = ""

    def __init_subclass__(
        cls, *, module: str, name: str | None = None, short: tuple[str, ...] = (), oneway: bool = False
    ) -> None:
        cls.of_module = module
        cls.function = name or _snake(cls.__name__)
        cls.short_form = short
        cls.oneway = oneway
        hints = typing.get_type_hints(cls)
        cls.declared = {
            key: value for key in hints if isinstance(value := cls.__dict__.get(key), Field)
        }
        cls.hints = {key: hints[key] for key in cls.declared}
        unknown = set(short) - set(cls.declared)
        if unknown:
            raise TypeError(f"{cls.title()}: its short form names unknown fields {sorted(unknown)}")

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def act(self, stage: StageContext) -> Any:
        """Do it; what is returned goes back to the script. Raises CallError."""
        raise CallError(f"{self.title()} does nothing here")

    @classmethod
    def title(cls) -> str:
        return f"{cls.of_module}.{cls.function}"

    @classmethod
    def bind(cls, args: Sequence[Any]) -> "Call":
        """The call that `args` (as Lua gave them) ask for. Raises CallError naming the field."""
        return cls(**_checked(cls, _named(cls, args)))


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _named(cls: type[Call], args: Sequence[Any]) -> dict[str, Any]:
    """Arguments by name, from one table or from the short form."""
    first = args[0] if args else None
    if len(args) == 1 and isinstance(first, dict) and (not cls.short_form or _looks_named(cls, first)):
        if not all(isinstance(key, str) for key in first):
            raise CallError(f"{cls.title()}: takes a table of named fields, given a table with numbered ones")
        return dict(first)
    if len(args) > len(cls.short_form):
        takes = f"{len(cls.short_form)} values" if cls.short_form else "one table of named fields"
        given = shown(first) if len(args) == 1 else f"{len(args)} values"
        raise CallError(f"{cls.title()}: takes {takes}, given {given}")
    return dict(zip(cls.short_form, args, strict=False))


def _looks_named(cls: type[Call], first: Mapping[Any, Any]) -> bool:
    """A single table is the named form unless the short form's first field itself takes a table."""
    return bool(first) and not _takes_table(cls.hints[cls.short_form[0]])


def _takes_table(hint: Any) -> bool:
    if hint is Any:
        return False
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_takes_table(part) for part in typing.get_args(hint))
    return typing.get_origin(hint) in (list, dict) or hint in (list, dict)


def _checked(cls: type[Call], given: dict[str, Any]) -> dict[str, Any]:
    for key in given:
        if key not in cls.declared:
            near = difflib.get_close_matches(key, cls.declared, n=1)
            hint = f'; did you mean "{near[0]}"?' if near else f"; known: {', '.join(cls.declared) or 'none'}"
            raise CallError(f'{cls.title()}: has no field "{key}"{hint}')
    values: dict[str, Any] = {}
    for key, declared in cls.declared.items():
        value = given.get(key)
        if value is None:
            if declared.default is MISSING:
                raise CallError(
                    f"{cls.title()}: {key}: is required ({declared.description}), given nothing"
                )
            values[key] = declared.default
            continue
        try:
            values[key] = _bounded(_converted(cls.hints[key], value), declared)
        except _Unfit as unfit:
            raise CallError(f"{cls.title()}: {key}: expected {unfit}, given {shown(value)}") from None
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
            raise _Unfit(f"a list of {type_name(typing.get_args(hint)[0])}s")
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


def lua_number(value: float) -> str:
    """A number as Lua's `tostring` writes it."""
    return str(value) if isinstance(value, int) else f"{value:.14g}" if value % 1 else f"{value:.1f}"


def shown(value: Any) -> str:
    """A value for an error message: short, and of one line."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str() | bytes():
            text = value if isinstance(value, str) else value.decode(errors="replace")
            text = text if len(text) <= 80 else text[:77] + "..."
            return '"' + "".join(char if char.isprintable() else "?" for char in text) + '"'
        case dict() | list():
            return "a table"
        case int() | float():
            return lua_number(value)
    return f"a {type(value).__name__.lower()}"


def type_name(hint: Any) -> str:
    names = {
        str: "text",
        bytes: "text",
        int: "whole number",
        float: "number",
        bool: "boolean",
        Any: "value",
        Duration: "duration",
        Name: "name",
        WorkspacePath: "path",
    }
    return names.get(hint, "table")


def reference_of(cls: type[Call]) -> str:
    """The first paragraph of a declaration's docstring."""
    return (inspect.getdoc(cls) or "").split("\n\n")[0]
