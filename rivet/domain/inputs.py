"""Checks what a run is given against the inputs that its pipeline declares."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from rivet.domain.errors import InvalidInput
from rivet.domain.lua_pattern import BadPattern, LuaPattern
from rivet.domain.pipeline import Definition, Input
from rivet.domain.wording import did_you_mean, lua_number, shown

MAX_TEXT = 64 * 1024
TYPES = ("string", "number", "boolean")
_EXPECTED = {"string": "a text", "number": "a number", "boolean": "true or false"}


class UnfitValue(ValueError):
    """A value is none that an input takes; the message says what is expected."""


def check_inputs(definition: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run, typed as declared, with defaults in place. Raises InvalidInput."""
    return check_values(definition.inputs, given, f'pipeline "{definition.name}"')


def check_values(inputs: Sequence[Input], given: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Values for `inputs`, which are those of `whose`: typed as declared, with defaults in place.

    Texts for numbers and booleans, as a command line gives them, are converted. Raises InvalidInput, whose
    message names the input, what was given and what is expected, and whose details have `input`.
    """
    declared = {each.name: each for each in inputs}
    for name in given:
        if name not in declared:
            hint = did_you_mean(str(name), declared)
            raise InvalidInput(f'{whose} has no input "{name}"{hint}', input=name)
    values: dict[str, Any] = {}
    for name, each in declared.items():
        value = given.get(name)
        if value is None:
            value = each.default
        if value is None:
            if each.required:
                about = f" ({each.description})" if each.description else ""
                raise InvalidInput(
                    f'input "{name}"{about} is required: expected {_EXPECTED[each.type]}, given nothing; '
                    f"give it as -i {name}=VALUE",
                    input=name,
                )
            continue
        try:
            values[name] = fit(each, value)
        except UnfitValue as unfit:
            message = f'input "{name}": expected {unfit}, given {shown(value)}'
            raise InvalidInput(message, input=name) from None
    return values


def as_texts(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Inputs as variables hold them."""
    return {name: _text(value) for name, value in inputs.items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ("true" if value else "false") if isinstance(value, bool) else lua_number(value)


def fit(declared: Input, value: Any) -> str | float | bool:
    """`value` as the input's type, within its options and pattern. Raises UnfitValue."""
    typed = _typed(declared.type, value)
    if declared.options and typed not in declared.options:
        raise UnfitValue(f"one of {', '.join(shown(option) for option in declared.options)}")
    if declared.pattern is not None and isinstance(typed, str):
        try:
            found = LuaPattern(declared.pattern).matches(typed)
        except BadPattern as problem:
            unfit = f'a text that the pattern "{declared.pattern}" can be tried on ({problem})'
            raise UnfitValue(unfit) from None
        if not found:
            raise UnfitValue(f'a text that matches the pattern "{declared.pattern}"')
    return typed


def _typed(kind: str, value: Any) -> str | float | bool:
    match kind, value:
        case "string", str():
            if len(value) > MAX_TEXT or "\0" in value:
                raise UnfitValue(f"a text of at most {MAX_TEXT} characters without a zero byte")
            return value
        case "boolean", bool():
            return value
        case "boolean", "true" | "false":
            return bool(value == "true")
        case "number", bool():
            pass
        case "number", int() if -(2**63) <= value < 2**63:
            return value
        case "number", float() if abs(value) < float("inf"):
            return value
        case "number", str() if re.fullmatch(r"-?[0-9]{1,18}", value):
            return int(value)
        case "number", str() if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][-+]?[0-9]{1,2})?", value):
            return float(value)
    raise UnfitValue(_EXPECTED[kind])
