"""A weak runner: one case, in plain lupa, in a process that holds the runner's environment.

    python -m tests.attacks.controls.weak_worker CONTROL CASE.lua WORKSPACE REPORT

Lines are written to REPORT as they come, one JSON object each; the last says how the script ended. Whoever
kills this process, or never lets it end, has broken a runner.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from lupa import lua54

from .weak_modules import WeakModules
from .weaknesses import CONTROLS


def documented_filter(obj: Any, name: Any, is_setting: bool) -> Any:
    """As lupa's own documentation has it: no names that begin with an underscore."""
    if isinstance(name, str) and not name.startswith("_"):
        return name
    raise AttributeError("access denied")


def main() -> int:
    name, case, workspace, report = sys.argv[1:]
    weak = next(each for each in CONTROLS if each.name == name)
    with open(report, "w", buffering=1) as told:

        def tell(stream: str, text: str) -> None:
            told.write(json.dumps({"stream": stream, "text": text}) + "\n")

        os.set_inheritable(told.fileno(), True)
        secrets = json.loads(os.environ.pop("WEAK_SECRETS"))
        modules = WeakModules(weak, Path(workspace), secrets, tell)
        lua = lua54.LuaRuntime(
            encoding="latin-1", attribute_filter=documented_filter if weak.filters else None
        )
        for module, functions in modules.functions().items():
            lua.globals()[module] = lua.table_from(
                {key: _tables(lua, function) for key, function in functions.items()}
            )
        lua.globals().stage = modules.group
        end = {"end": "safe", "message": ""}
        try:
            lua.execute(Path(case).read_bytes().decode("latin-1"))
        except Exception as error:
            end = {"end": "error", "message": str(error)[:500]}
        told.write(json.dumps(end) + "\n")
    for each in modules.started:
        each.kill()
    return 0


def _tables(lua: Any, function: Any) -> Any:
    """The function, whose dictionaries and lists become tables of Lua's."""

    def call(*arguments: Any) -> Any:
        given = function(*arguments)
        if isinstance(given, dict | list):
            return lua.table_from({k: _tables(lua, v) if callable(v) else v for k, v in _pairs(given)})
        return given

    return call


def _pairs(given: Any) -> Any:
    return given.items() if isinstance(given, dict) else enumerate(given, 1)


if __name__ == "__main__":
    sys.exit(main())
