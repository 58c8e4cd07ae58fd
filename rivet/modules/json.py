"""The Lua module `json`: text to values and back, nothing lost on the way that Lua can hold."""

import json
from typing import Any

from rivet.domain.wording import shown
from rivet.modules.contract import Call, CallError, StageContext, about
from rivet.modules.output import unfit
from rivet.sandbox.frames import KeepNulls

MAX_BYTES = 8 * 1024 * 1024 - 4096
MAX_DEPTH = 30
MAX_ENTRIES = 99_000
_SURE_DIGITS = 18


class Encode(Call, module="json", short=("value", "indent"), positional=True):
    """A value as JSON. A table is a list if its keys are 1, 2, … without a gap; an empty one is an object.

    `json.array` makes an empty table a list; `json.null` stands for null.
    """

    value: Any = about("text, number, boolean, json.null, or a table of these", default=None)
    indent: int | None = about("spaces by which each level is set in; else all is on one line",
                               default=None, minimum=0, maximum=16)
    example = 'fs.write("result.json", json.encode({ ok = true, names = json.array({}) }))'

    def act(self, stage: StageContext) -> str:
        trouble = unfit(self.value, nul=True)
        if trouble is not None:
            raise CallError(f"json.encode: value: expected something JSON can hold, given {trouble}")
        separators = (",", ":") if self.indent is None else (",", ": ")
        return json.dumps(self.value, ensure_ascii=False, indent=self.indent, separators=separators)


class Decode(Call, module="json", short=("text",)):
    """The value that a JSON text holds.

    An empty list stays one when it is encoded again, and null is `json.null`. A whole number of more than
    64 bits becomes a float, as in Lua itself.
    """

    text: bytes = about("the JSON, in UTF-8", maximum=MAX_BYTES)
    example = 'local package = json.decode(fs.read("package.json"))'

    def act(self, stage: StageContext) -> KeepNulls:
        return KeepNulls(read_json(self.text, "json.decode: text"))


class Array(Call, module="json", short=("table",), local=True):
    """The same table, which is a list from now on, even while it is empty."""

    table: list[Any] = about("a table with the keys 1, 2, … or none; a new one if absent", default=None)
    example = "local names = json.array({})"


def read_json(raw: bytes, where: str) -> Any:
    """The value, which a script can be handed. Raises CallError that begins with `where`."""
    try:
        text = raw.decode()
        value = json.loads(text, parse_int=_whole, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise CallError(f"{where}: is not UTF-8 from byte {error.start + 1} on") from None
    except json.JSONDecodeError as error:
        raise CallError(f"{where}: {_with_place(error, text)}") from None
    except RecursionError:
        raise CallError(f"{where}: {_TOO_DEEP}") from None
    except _NoValue as wrong:
        raise CallError(f"{where}: {wrong}") from None
    trouble = _Bounds().exceeded(value, 0)
    if trouble is not None:
        raise CallError(f"{where}: {trouble}")
    return value


class _NoValue(Exception):
    """A word that JSON does not have."""


_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} lists and objects"


def _with_place(error: json.JSONDecodeError, text: str) -> str:
    found = text[error.pos : error.pos + 20].split("\n")[0]
    near = f", near {shown(found)}" if found else " (the end of the text)"
    what = error.msg[:1].lower() + error.msg[1:]
    return f"line {error.lineno}, column {error.colno}: {what}{near}"


def _whole(digits: str) -> int | float:
    if len(digits) <= _SURE_DIGITS:
        return int(digits)
    number = float(digits)
    return int(digits) if abs(number) < 2**64 and -(2**63) <= int(digits) < 2**63 else number


def _refuse_constant(name: str) -> None:
    raise _NoValue(f"{name} is no value that JSON has")


class _Bounds:
    """What a script can be handed: no deeper, no more, and nothing that is no number or no text."""

    def __init__(self) -> None:
        self._entries = 0

    def exceeded(self, value: Any, depth: int) -> str | None:
        match value:
            case str():
                return None if _is_text(value) else "holds half of a surrogate pair (\\ud800 to \\udfff)"
            case float():
                return "holds a number that is too large" if value in (float("inf"), -float("inf")) else None
            case list() | dict():
                return self._table_exceeded(value, depth)
        return None

    def _table_exceeded(self, value: list[Any] | dict[str, Any], depth: int) -> str | None:
        self._entries += len(value)
        if self._entries > MAX_ENTRIES:
            return f"holds more than {MAX_ENTRIES} entries; a tool such as jq can take out what is needed"
        if depth >= MAX_DEPTH:
            return _TOO_DEEP
        items = value if isinstance(value, list) else [*value, *value.values()]
        return next((trouble for item in items if (trouble := self.exceeded(item, depth + 1))), None)


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
