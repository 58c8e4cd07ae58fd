"""Our own programs for rooms, compiled: the agent, and what it imports when it first needs it."""

import functools
import importlib.util
import marshal
from pathlib import Path
from types import CodeType

import rivet.sandbox

MODULES = ("files", "file_trees", "file_search", "file_work", "spawn", "watch")
ON_HOST = "on_host"
"""What the agent needs besides where it is no pid 1."""


@functools.cache
def library(*more: str) -> dict[str, bytes]:
    """What the agent imports when it first needs it, by its path below what is ours in the room."""
    folder = "lib/rivet"
    nothing = _packed(compile("", "__init__.py", "exec"))
    files = {f"{folder}/sandbox/{name}.pyc": compiled(name) for name in (*MODULES, *more)}
    return {f"{folder}/__init__.pyc": nothing, f"{folder}/sandbox/__init__.pyc": nothing, **files}


@functools.cache
def compiled(name: str) -> bytes:
    """A program of ours for rooms: not parsed at each start. Its interpreter is the one that runs here."""
    source = Path(rivet.sandbox.__file__).with_name(f"{name}.py").read_bytes()
    return _packed(compile(source, f"{name}.py", "exec", dont_inherit=True, optimize=2))


def _packed(code: CodeType) -> bytes:
    return importlib.util.MAGIC_NUMBER + bytes(12) + marshal.dumps(code)
