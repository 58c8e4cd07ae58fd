"""What makes the declaration of a pipeline's inputs valid."""

import re
from collections.abc import Mapping
from typing import Any

from rivet.domain.field_rules import Fields
from rivet.domain.inputs import TYPES, UnfitValue, fit
from rivet.domain.lua_pattern import BadPattern, LuaPattern
from rivet.domain.pipeline import Input
from rivet.domain.wording import shown

MAX_INPUTS = 100
MAX_OPTIONS = 200
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_FIELDS = ("type", "default", "required", "options", "pattern", "description")


def read_inputs(pipeline: Fields) -> tuple[Input, ...]:
    """The field `inputs`; what is wrong with it is among the pipeline's findings."""
    inner = pipeline.within("inputs", "inputs")
    if inner is None:
        return ()
    if len(inner.table) > MAX_INPUTS:
        inner.wrong("out-of-range", f"inputs: expected at most {MAX_INPUTS}, given {len(inner.table)}")
        return ()
    inputs = []
    for name, declared in inner.table.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            step = (name,) if isinstance(name, str | int) else ()
            message = f"inputs: expected names of letters, digits and _, given {shown(name)}"
            inner.wrong("wrong-name", message, *step)
        elif not isinstance(declared, Mapping):
            inner.expect(name, 'a table such as { type = "string", default = "main" }')
        else:
            fields = Fields(declared, (*inner.path, name), f'input "{name}"', inner.findings)
            inputs.append(_read(fields, name))
    return tuple(inputs)


def _read(fields: Fields, name: str) -> Input:
    fields.refuse_unknown(_FIELDS)
    before = len(fields.findings)
    default = fields.table.get("default")
    kind = fields.choice("type", TYPES) or _kind_of(default)
    pattern = fields.text("pattern", most=500)
    if pattern is not None:
        _check_pattern(fields, pattern, kind)
    bare = Input(name, kind, pattern=pattern if len(fields.findings) == before else None)
    declared = Input(
        name,
        kind,
        default=default,
        required=fields.truth("required") or False,
        options=_options(fields, bare),
        pattern=bare.pattern,
        description=fields.text("description", most=10_000, least=0) or "",
    )
    if default is not None and len(fields.findings) == before:
        try:
            fit(declared, default)
        except UnfitValue as unfit:
            fields.expect("default", f"what the input itself allows, {unfit}")
    return declared


def _kind_of(default: Any) -> str:
    if isinstance(default, bool):
        return "boolean"
    return "number" if isinstance(default, int | float) else "string"


def _options(fields: Fields, bare: Input) -> tuple[Any, ...]:
    given = fields.items("options", "a list of allowed values")
    if len(given) > MAX_OPTIONS:
        fields.expect("options", f"at most {MAX_OPTIONS} values", code="out-of-range")
        return ()
    for at, option in enumerate(given, start=1):
        try:
            if fit(bare, option) != option:
                raise UnfitValue(f"a {bare.type}")
        except UnfitValue as unfit:
            message = f"{fields.what}: options[{at}]: expected {unfit}, given {shown(option)}"
            fields.wrong("wrong-type", message, "options", at)
    return tuple(given)


def _check_pattern(fields: Fields, pattern: str, kind: str) -> None:
    if kind != "string":
        message = f"{fields.what}: pattern: only texts have one, this is a {kind}"
        fields.wrong("wrong-type", message, "pattern")
        return
    try:
        LuaPattern(pattern)
    except BadPattern as problem:
        message = f'{fields.what}: pattern: "{pattern}" is no Lua pattern: {problem}'
        fields.wrong("bad-pattern", message, "pattern")
