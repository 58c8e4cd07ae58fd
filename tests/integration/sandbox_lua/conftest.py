"""A warm zygote for all tests of a module, and a stage that is run at once."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rivet.sandbox.lua import LuaError, LuaLimits, Refused, Script, Zygote, open_script

MODULES = {
    "log": {"info": "oneway", "warn": "oneway"},
    "env": {"get": "call"},
    "run": {"summary": "call"},
}


class Heard:
    """What a script asked of its modules, in order."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[Any]]] = []

    def __call__(self, module: str, function: str, arguments: list[Any]) -> Any:
        self.calls.append((f"{module}.{function}", arguments))
        if arguments[:1] == ["refuse"]:
            raise Refused(f"{module}.{function}: refused")
        return arguments[0] if arguments else None

    @property
    def lines(self) -> list[Any]:
        return [arguments[0] for call, arguments in self.calls if call == "log.info"]


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    with Zygote() as shared:
        shared.start()
        yield shared


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def open_lua(zygote: Zygote) -> Iterator[Callable[..., Script | LuaError]]:
    """Opens a file; what was opened is closed after the test."""
    opened: list[Script] = []

    def open_file(
        source: str, *, resolve: bool = False, values: Any = None, **limits: Any
    ) -> Script | LuaError:
        script = open_script(
            zygote,
            source,
            "rivet.lua",
            LuaLimits(**{"cpu_s": 1, "wall_s": 20, **limits}),
            modules=MODULES,
            values=values or {"run": {"id": "r1", "number": 7}},
            resolve=resolve,
        )
        if isinstance(script, Script):
            opened.append(script)
        return script

    yield open_file
    for script in opened:
        script.close()


@pytest.fixture
def run_stage(open_lua: Any, heard: Heard) -> Callable[..., LuaError | None]:
    """Runs a script's body as the one stage of a pipeline; its first line is line 2 of the file."""

    def run(body: str, **limits: Any) -> LuaError | None:
        script = open_lua(
            "pipeline = { stages = { { name = 'only', script = function()\n" + body + "\nend } } }", **limits
        )
        assert isinstance(script, Script), script
        return script.run(("stages", 1), heard)

    return run
