"""Ask a stage's `cache.key` for the key, where the definition has a function there."""

from collections.abc import Callable
from typing import Any

from rivet.domain.cache import checked_key
from rivet.domain.errors import InvalidInput
from rivet.domain.ids import Path
from rivet.domain.pipeline import Function
from rivet.domain.wording import shown
from rivet.runner.readable import READABLE
from rivet.sandbox.lua import LuaError, Refused, Script

USABLE = {**READABLE, "hash": ("sha256", "files")}

Call = Callable[[str, str, list[Any]], Any]


def ask_cache_key(script: Script, path: Path, function: Function, call: Call, file: str) -> str | LuaError:
    """The key that the function of the stage at `path` gives. What is wrong with it fails the stage.

    `call` serves a module's call, and may raise Refused.
    """

    def served(module: str, name: str, args: list[Any]) -> Any:
        if name not in USABLE.get(module, ()):
            raise Refused(
                f"{module}.{name}: `cache.key` may read env, input, output, run and matrix, "
                "and use hash, alone"
            )
        return call(module, name, args)

    given = script.ask((*path, "cache", "key"), served)
    if isinstance(given, LuaError):
        return LuaError(given.kind, f"cache.key: {given.message}", given.file, given.line, given.traceback)
    try:
        return checked_key(given.value, "cache.key")
    except InvalidInput as wrong:
        told = f"{wrong.message}, given {shown(given.value)}"
        return LuaError("error", told, file, function.line)
