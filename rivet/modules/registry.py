"""All module functions of this version, by module and name; read from their declarations."""

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from rivet.modules import (
    artifacts,
    base64,
    cache,
    env,
    fs,
    git,
    hash,
    http,
    input,
    json,
    log,
    output,
    process,
    report,
    run,
    secrets,
    time,
)
from rivet.modules.contract import Binding, Call, CallError, StageContext

FILES: tuple[ModuleType, ...] = (
    log, env, input, output, run, process, git, fs, http, json, base64, hash, time, secrets,
    artifacts, cache, report,
)  # fmt: skip


def _declared(file: ModuleType) -> Iterator[type[Call]]:
    for value in vars(file).values():
        if isinstance(value, type) and issubclass(value, Call) and value.__module__ == file.__name__:
            yield value


FUNCTIONS: Mapping[str, Mapping[str, type[Call]]] = {
    file.__name__.rpartition(".")[2]: {call.function: call for call in _declared(file)} for file in FILES
}


def bindings() -> dict[str, dict[str, Binding]]:
    """For the Lua child: which functions there are, and how each is called."""
    return {
        module: {name: call.binding for name, call in calls.items()}
        for module, calls in FUNCTIONS.items()
    }


def call(module: str, function: str, args: list[Any], stage: StageContext) -> Any:
    """Bind, check and act. Raises CallError with what the script is to see."""
    declared = FUNCTIONS.get(module, {}).get(function)
    if declared is None:
        raise CallError(f"{module}.{function}: there is no such function")
    return declared.bind(args).act(stage)
