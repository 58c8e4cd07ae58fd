"""All module functions of this version, read from their declarations, and those of plug-ins."""

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


Functions = Mapping[str, Mapping[str, type[Call]]]
"""By module and name."""


def declared_in(file: ModuleType) -> Iterator[type[Call]]:
    """The functions that a Python module or the files of its package declare, in their order."""
    for value in vars(file).values():
        if isinstance(value, type) and issubclass(value, Call):
            where = value.__module__
            if where == file.__name__ or where.startswith(f"{file.__name__}."):
                yield value


FUNCTIONS: Functions = {
    file.__name__.rpartition(".")[2]: {call.function: call for call in declared_in(file)} for file in FILES
}


class Modules:
    """What scripts may call: our functions and those of `plugins`, whose names are none of ours."""

    def __init__(self, plugins: Functions | None = None) -> None:
        self.plugins = plugins or {}
        self.functions: Functions = {**self.plugins, **FUNCTIONS}
        self._bindings = {
            module: {name: call.binding for name, call in calls.items()}
            for module, calls in self.functions.items()
        }

    def bindings(self) -> Mapping[str, Mapping[str, Binding]]:
        """For the Lua child: which functions there are, and how each is called. Always the same object."""
        return self._bindings

    def call(self, module: str, function: str, args: list[Any], stage: StageContext) -> Any:
        """Bind, check and act. Raises CallError with what the script is to see."""
        declared = self.functions.get(module, {}).get(function)
        if declared is None:
            raise CallError(f"{module}.{function}: there is no such function")
        return declared.bind(args).act(stage)


OURS = Modules()
bindings, call = OURS.bindings, OURS.call
