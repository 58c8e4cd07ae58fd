"""The modules as a LuaCATS stub: what editors complete and check pipelines by. Read from the declarations."""

import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from rivet.modules.contract import Call, Duration, Glob, Name, Opaque, Secretive, Table, WorkspacePath
from rivet.modules.fields import MISSING, Field
from rivet.modules.registry import FUNCTIONS, Functions
from rivet.modules.run import STAGE_VALUES, VALUES
from rivet.sandbox.frames import KeepNulls

_TYPES: Mapping[Any, str] = {
    str: "string", bytes: "string", int: "integer", float: "number", bool: "boolean", Any: "any",
    object: "any", Duration: "number|string", Name: "string", WorkspacePath: "string", Glob: "string",
    Opaque: "rivet.Secret", Secretive: "any", KeepNulls: "any", dict: "table", list: "table",
}  # fmt: skip
_VALUES: Mapping[str, str] = {
    "json": "---@field null any what stands for the null of JSON\n",
    "run": "".join(f"---@field {name} any\n" for name in (*VALUES, *STAGE_VALUES)),
}


def stub(functions: Functions = FUNCTIONS) -> str:
    """The whole file's text; with `functions` that plug-ins bring along, theirs too."""
    head = "---@meta\n\n---@class rivet.Secret\n"
    return "\n".join([head, *(_module(name, functions[name]) for name in sorted(functions))])


def _module(name: str, calls: Mapping[str, type[Call]]) -> str:
    parts = [f"---@class {name}\n{_VALUES.get(name, '')}{name} = {{}}\n"]
    for call in calls.values():
        if call.function.endswith(":end"):
            continue
        parts += _classes(call)
        parts.append(_function(call))
    return "\n".join(parts)


def _function(call: type[Call]) -> str:
    lines = [f"---{line}" for line in inspect.cleandoc(call.__doc__ or "").splitlines()]
    lines += ["---", f"---    {call.example}"]
    result = _result(call)
    if call.short_form:
        taken = list(call.short_form)
        lines += [_described("param", name, call.declared[name], call.hints[name]) for name in taken]
    else:
        taken = ["fields"] if call.declared else []
        optional = "?" if all(field.default is not MISSING for field in call.declared.values()) else ""
        lines += [f"---@param fields{optional} {_class_of(call)}" for _ in taken]
    if result is not None:
        lines.append(f"---@return {result}")
    if call.short_form and not call.is_positional and call.of_handle is None:
        told = f": {result}" if result is not None else ""
        lines.append(f"---@overload fun(fields: {_class_of(call)}){told}")
    return "\n".join([*lines, f"function {_name(call)}({', '.join(taken)}) end", ""])


def _name(call: type[Call]) -> str:
    if call.of_handle is None:
        return call.title()
    return f"{call.of_handle}_handle:{call.function.partition(':')[2]}"


def _class_of(call: type[Call]) -> str:
    return f"{call.of_module}.{call.function.replace(':', '.')}.fields"


def _classes(call: type[Call]) -> Iterator[str]:
    """The types of a function's own: its fields, tables within them, and its handle."""
    for key, hint in call.hints.items():
        for part in typing.get_args(hint) or (hint,):
            if isinstance(part, type) and issubclass(part, Table):
                yield _fields(f"{call.title()}.{key}", part.declared, part.hints)
    if call.declared and call.of_handle is None:
        yield _fields(_class_of(call), call.declared, call.hints, within=call.title())
    if call.binding == "handle":
        yield f"---@class {call.title()}.handle\nlocal {call.function}_handle = {{}}\n"


def _fields(
    name: str, declared: Mapping[str, Field], hints: Mapping[str, Any], within: str = ""
) -> str:
    lines = [_described("field", key, field, hints[key], within) for key, field in declared.items()]
    return "\n".join([f"---@class {name}", *lines, ""])


def _described(kind: str, name: str, field: Field, hint: Any, within: str = "") -> str:
    if name == "fn":
        return f"---@{kind} fn function {field.description}"
    optional = "" if field.default is MISSING else "?"
    type_of = _type(hint, f"{within}.{name}").removesuffix("|nil")
    return f"---@{kind} {name}{optional} {type_of} {field.description}"


def _result(call: type[Call]) -> str | None:
    if call.binding == "around":
        return "any ..."
    if call.binding == "handle":
        return f"{call.title()}.handle"
    hint = typing.get_type_hints(call.act).get("return")
    return None if hint is types.NoneType or hint is None else _type(hint, call.title())


def _type(hint: Any, name: str) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        words = [_type(part, name) for part in parts if part is not types.NoneType]
        return "|".join(dict.fromkeys([*words, *(["nil"] if types.NoneType in parts else [])]))
    if origin is list:
        inner = _type(parts[0], name)
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if origin is dict:
        return f"table<{_type(parts[0], name)}, {_type(parts[1], name)}>"
    if isinstance(hint, type) and issubclass(hint, Table):
        return name
    return _TYPES.get(hint, "any")
