"""`rivet init`: a pipeline to begin with, and what an editor needs to complete and check it."""

import json
from pathlib import Path

import click

from rivet.cli.failures import USAGE, Failed
from rivet.cli.options import quiet_option

PIPELINE, EDITOR, STUBS = Path("rivet.lua"), Path(".luarc.json"), Path(".rivet/modules.lua")
_LUARC = {
    "runtime.version": "Lua 5.4",
    "runtime.builtin": dict.fromkeys(("io", "os", "package", "debug", "ffi", "jit"), "disable"),
    "workspace.library": [str(STUBS.parent)],
    "diagnostics.globals": ["pipeline"],
}
_STARTER = """-- Try it: rivet check rivet.lua, then rivet run rivet.lua -i who=Ada
return {
  name = %s,
  inputs = {
    who = { type = "string", default = "world", description = "whom to greet" },
  },
  stages = {
    {
      name = "greet",
      script = function()
        log.info("Hello, " .. input.get("who"))
      end,
    },
    {
      name = "test",
      script = function()
        -- No shell is between: a command and its arguments, in the workspace.
        process.run({ command = "sh", args = { "-c", "echo put your tests here" } })
      end,
    },
  },
}
"""


@click.command()
@quiet_option
def init(quiet: bool) -> None:
    """Write a starter rivet.lua, and .luarc.json and stubs of all modules for the editor, into this folder.

    What is there already stays as it is, but for the stubs: call it again to bring them up to date, after an
    upgrade or with another plug-in.

    Example: rivet init
    """
    from rivet.modules.plugins import ALL, find_plugins
    from rivet.modules.registry import Modules
    from rivet.modules.stub import stub

    plugins = find_plugins([ALL])
    files = (
        (PIPELINE, _STARTER % json.dumps(_name_of(Path.cwd()), ensure_ascii=False), False),
        (EDITOR, json.dumps(_LUARC, indent=2) + "\n", False),
        (STUBS, stub(Modules(plugins.functions).functions), True),
    )
    for path, text, is_ours in files:
        told = _write(path, text, is_ours)
        if not quiet:
            click.echo(f"{path}: {told}", err=True)
    for fault in plugins.faults:
        click.echo(f"not in the stubs: {fault.told()}", err=True)


def _name_of(folder: Path) -> str:
    """A pipeline's name after the folder's, where that gives one."""
    from rivet.domain.pipeline import slug_of

    name = "".join(letter for letter in folder.name if letter.isprintable() and letter.isascii())[:100]
    return name if slug_of(name) else "First pipeline"


def _write(path: Path, text: str, is_ours: bool) -> str:
    """What was done. Raises Failed."""
    try:
        if path.exists() and not is_ours:
            return "is there, and stays as it is"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{path}: {error.strerror}", USAGE) from error
    return "written"
