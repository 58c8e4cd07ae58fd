"""What a forked, confined process does: run the prelude, which speaks frames over 0 and 1, and end.

Imports nothing of ours. It is the only file that knows lupa, and the process that runs it is meant to
die. No Python callback, object or exception ever enters the Lua state: after the prelude has begun, Python
only waits for it to return.
"""

import os

from lupa import lua54

NOT_CONFINED = 70
OUT_OF_MEMORY = 71
BROKEN = 72

_NAME = b"=(rivet)"
_PARTS = ("ordered", "opaque", "wire", "basics", "modules")


def compiled_prelude(folder: str) -> bytes:
    """The Lua files of this folder as one compiled chunk: bytecode of ours, which no script's code can be."""
    texts = ["local part = {}"]
    for name in _PARTS:
        texts.append(f"part.{name} = function(...) {_read(folder, name)}\nend")
    texts.append("part.ordered, part.opaque = part.ordered(), part.opaque()")
    texts.append("part.wire = part.wire(part.ordered, part.opaque)")
    texts.append(f"return (function(...) {_read(folder, 'prelude')}\nend)(part)")
    state = lua54.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    chunk = state.compile("\n".join(texts).encode(), name=_NAME)
    compiled: bytes = state.globals().string.dump(chunk)
    return compiled


def serve(prelude: bytes, memory: int) -> int:
    """Run the prelude in a new Lua state of at most `memory` bytes; the process's exit code."""
    try:
        state = lua54.LuaRuntime(
            encoding=None,
            register_eval=False,
            register_builtins=False,
            unpack_returned_tuples=False,
            max_memory=memory,
        )
        state.execute(prelude, name=_NAME)
    except (lua54.LuaMemoryError, MemoryError):
        return OUT_OF_MEMORY
    except lua54.LuaError:
        return BROKEN
    return 0


def _read(folder: str, name: str) -> str:
    with open(os.path.join(folder, f"{name}.lua"), encoding="utf-8") as file:
        return file.read()
