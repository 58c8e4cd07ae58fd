"""Whether a plug-in's declarations can be bound, called and described: what ours are tested for."""

import inspect
import re
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rivet.modules.contract import Call
from rivet.modules.fields import CONVERTERS, Table

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
KEYWORDS = frozenset({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
})  # fmt: skip


def faults_of(module: str, calls: Sequence[type[Call]]) -> list[str]:
    """What is wrong with the declarations of a module of that name, a sentence each."""
    if not calls:
        return ["it declares no function: a class of rivet.modules.contract.Call is one"]
    counted = Counter(call.function for call in calls)
    wrong = [f"{name} is declared twice" for name, times in counted.items() if times > 1]
    for call in calls:
        wrong += (f"{call.of_module}.{call.function}: {why}" for why in _of_function(module, call, calls))
    return wrong


def _of_function(module: str, call: type[Call], calls: Sequence[type[Call]]) -> Iterator[str]:
    if call.of_module != module:
        yield f"it is declared with module={call.of_module!r}, and its entry point says {module!r}"
    name = call.function.rpartition(":")[2]
    if not _NAME.fullmatch(name) or (name in KEYWORDS and call.of_handle is None):
        yield "its name is none that a script can write after a dot"
    if call.binding == "local":
        yield "local=True is for functions that Rivet's own Lua code has"
    if call.of_handle is not None and call.of_handle not in {each.function for each in calls}:
        yield f"it is declared with of={call.of_handle!r}, which is no function of the module"
    if call.binding == "around" and f"{call.function}:end" not in {each.function for each in calls}:
        yield f'around=True needs a declaration with name="end", of={call.function!r}'
    if not (call.__doc__ or "").strip():
        yield "it has no docstring: editors show it"
    if call.title() not in call.example:
        yield f"its example does not call {call.title()}"
    if call.act is Call.act:
        yield "it has no method act"
    yield from _of_fields(call.hints)
    if inspect.iscoroutinefunction(call.act):
        yield "act is async, and nothing awaits it"


def _of_fields(hints: Mapping[str, Any]) -> Iterator[str]:
    for name, hint in hints.items():
        if name != "fn" and not _can_be_checked(hint):
            can = "rivet.modules.contract has types that can"
            yield f"field {name}: a value of type {hint} cannot be checked; {can}"


def _can_be_checked(hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return all(_can_be_checked(part) for part in parts if part is not types.NoneType)
    if origin is list:
        return _can_be_checked(parts[0])
    if origin is dict:
        return parts[0] is str and _can_be_checked(parts[1])
    if isinstance(hint, type) and issubclass(hint, Table):
        return all(_can_be_checked(part) for part in hint.hints.values())
    return hint is Any or hint in CONVERTERS
