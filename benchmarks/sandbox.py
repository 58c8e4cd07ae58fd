"""What the sandbox costs, each thing beside the same without it, measured in turns in the same call.

    python -m benchmarks.sandbox
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from rivet.runner.proxy import Proxy
from rivet.runner.reach import ProxyRules, ReachPolicy
from rivet.runner.room import Room, RoomSpec, prepare_workspace
from rivet.runner.tools import ToolRoots
from rivet.sandbox.lua import LuaLimits, Script, Zygote, open_script

TIMES = 30
CALLS = 2000
UID = 299_001 if os.geteuid() == 0 else None
SOURCE = """return { stages = { { name = "a", script = function()
  for i = 1, %d do json.encode(i) end end } } }"""
MODULES = {"json": {"encode": "call"}}


class Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.chmod(0o755)
        zygote = stack.enter_context(Zygote())
        zygote.start()
        room = _room(stack, folder)
        port = _served(stack)
        listener = socket.create_server(("127.0.0.1", 0))
        rules = ProxyRules(ReachPolicy(allow_hosts=(f"127.0.0.1:{port}",)), everything=True)
        proxy = stack.enter_context(Proxy(listener, rules))
        measured: dict[str, Callable[[], float]] = {
            "module call": lambda: _calls(zygote),
            "Lua child, warm: fork and definition": lambda: timed(lambda: _opened(zygote).close()),
            "Lua child, cold: zygote too": _cold,
            "room: opened and closed": lambda: timed(lambda: _once(folder)),
            "process in a room": lambda: timed(lambda: room.run(["true"], env={}, on_output=lambda *_: None)),
            "plain subprocess": lambda: timed(lambda: subprocess.run(["true"], check=True)),
            "python -I -S -c pass": lambda: timed(lambda: subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)),
            "request through the proxy": lambda: timed(lambda: _get(proxy.port, f"http://127.0.0.1:{port}/")),
            "request without it": lambda: timed(lambda: _get(port, "/")),
        }
        seconds: dict[str, list[float]] = {name: [] for name in measured}
        for _ in range(TIMES):
            for name, once in measured.items():
                seconds[name].append(once())
        for name, all_of_it in seconds.items():
            told = {"median": statistics.median(all_of_it), "min": min(all_of_it), "max": max(all_of_it)}
            print(json.dumps({"what": name, **{key: round(s * 1000, 3) for key, s in told.items()}}))


def timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _opened(zygote: Zygote) -> Script:
    source = SOURCE % CALLS
    script = open_script(zygote, source, "rivet.lua", LuaLimits(), modules=MODULES, values={}, resolve=False)
    assert isinstance(script, Script), script
    return script


def _calls(zygote: Zygote) -> float:
    """Seconds a call, over many of one script."""
    with _opened(zygote) as script:
        begun = time.perf_counter()
        failure = script.run(("stages", 1), lambda *_: "1")
        assert failure is None, failure
        return (time.perf_counter() - begun) / CALLS


def _cold() -> float:
    begun = time.perf_counter()
    with Zygote() as zygote:
        _opened(zygote).close()
        return time.perf_counter() - begun


def _spec(folder: Path, name: str) -> RoomSpec:
    workspace = folder / name
    prepare_workspace(workspace, UID)
    return RoomSpec(workspace, None, UID, ToolRoots(), ping_s=600.0)


def _room(stack: ExitStack, folder: Path) -> Room:
    return stack.enter_context(Room(_spec(folder, "kept")))


def _once(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as made:
        Path(made).chmod(0o755)
        with Room(_spec(Path(made), "workspace")):
            pass


def _served(stack: ExitStack) -> int:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    stack.callback(server.shutdown)
    return int(server.server_port)


def _get(port: int, target: str) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        got = b""
        while part := connection.recv(65536):
            got += part
    assert got.endswith(b"hello"), got


if __name__ == "__main__":
    main()
