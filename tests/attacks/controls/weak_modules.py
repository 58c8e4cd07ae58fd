"""What a weak worker gives to scripts: modules as one would write them who does not think of attacks."""

import base64
import glob
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import urllib.request
import xml.dom.minidom
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rivet.domain.log import encode_line
from rivet.domain.mask import Masker

from .weaknesses import Weakness

CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}


class Refused(Exception):
    """This control is not weak in that."""


class WeakModules:
    """Functions by module for one case. `tell` takes a line: its stream and its text, in latin-1."""

    def __init__(
        self, weak: Weakness, workspace: Path, secrets: Mapping[str, str], tell: Callable[[str, str], None]
    ) -> None:
        self.weak, self.workspace, self.secrets, self._tell = weak, workspace, secrets, tell
        self.store = workspace.parent / "store"
        self.store.mkdir(exist_ok=True)
        self.variables: dict[str, str] = {}
        self._masker = Masker()
        for value in secrets.values():
            self._masker.add(value.encode())
        self.started: list[subprocess.Popen[bytes]] = []

    def say(self, stream: str, *words: Any) -> None:
        raw = " ".join(str(word) for word in words).encode("latin-1", "replace")
        if self.weak.masks:
            raw = self._masker.mask(raw)
        for line in raw.split(b"\n"):
            self._tell(stream, encode_line(line) if self.weak.escapes else line.decode("utf-8", "surrogateescape"))

    def functions(self) -> dict[str, dict[str, Any]]:
        """By module and name, what scripts may call."""
        said = {level: lambda *words: self.say("log", *words) for level in ("info", "warn", "error", "debug")}
        return {
            "log": {**said, "group": self.group, "annotate": lambda told: self.say("log", told["message"])},
            "env": {"get": self.get_variable, "set": self.set_variable},
            "process": {"run": self.run, "start": self.start},
            "secrets": {"get": self.secret},
            "git": {"clone": self.clone, **dict.fromkeys(("checkout", "log", "rev_parse", "describe", "changed_files"), self.checkout)},
            "http": {"get": self.get, "request": lambda asked: self.get(asked["url"])},
            "cache": {"save": self.save, "restore": self.restore},
            "artifacts": {"upload": self.upload, "download": self.download},
            "docker": {"run": lambda asked: self._only(self.weak.modules)},
            "fs": {name: self._file_function(name) for name in _FILES},
            "report": {"junit": self.junit, "coverage": self.junit},
            "output": {"set": lambda name, value: self.say("stored", name, value)},
            "run": {"summary": lambda text: self.say("stored", text)},
            "json": {"decode": json.loads, "encode": lambda value, *_: json.dumps(value)},
            "base64": {"encode": lambda text: base64.b64encode(text.encode("latin-1")).decode()},
            "hash": {"files": lambda globs: self._at(globs).read_text("latin-1")},
            "time": {"now": time.time, "sleep": time.sleep},
        }

    def group(self, name: str, body: Callable[[], Any]) -> Any:
        self.say("stored", name)
        return body()

    def get_variable(self, name: str, default: str | None = None) -> str | None:
        return self.variables.get(name, default)

    def set_variable(self, name: str, value: str) -> None:
        # As written by somebody who formats messages with whatever comes along.
        self.variables[name] = value.format(self) if self.weak.modules and value.startswith("{0") else value

    def secret(self, name: str) -> str:
        self._only(self.weak.secrets)
        return next(value for known, value in self.secrets.items() if name.endswith(known) or name in ("%", "*"))

    # Processes.

    def run(self, asked: Any) -> dict[str, Any]:
        argv, env, folder = self._command(asked)
        seconds = float(asked["timeout"]) if isinstance(asked["timeout"], int | float) else None
        given = subprocess.Popen(
            argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            close_fds=not self.weak.by_shell,
        )  # fmt: skip
        try:
            out, err = given.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            given.kill()
            raise
        for stream, data in (("stdout", out), ("stderr", err)):
            if data:
                self.say(stream, data[: 1 << 22].decode("latin-1"))
        code = given.returncode
        return {"code": code, "exit_code": code, "stdout": out.decode("latin-1"), "stderr": err.decode("latin-1")}

    def start(self, asked: Any) -> dict[str, Any]:
        argv, env, folder = self._command(asked)
        given = subprocess.Popen(
            argv, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            close_fds=not self.weak.by_shell,
        )  # fmt: skip
        self.started.append(given)

        def wait(*_: Any) -> dict[str, Any]:
            out, _rest = given.communicate()
            return {"code": given.returncode, "stdout": out.decode("latin-1")}

        return {"wait": wait, "stop": lambda *_: given.kill(), "running": lambda *_: given.poll() is None}

    def _command(self, asked: Any) -> tuple[list[str], dict[str, str], Path]:
        self._only(self.weak.processes != "none")
        args = [self._seen(part) for part in (asked["args"] or {}).values()]
        given = dict((asked["env"] or {}).items()) | self.variables
        base = dict(os.environ) if self.weak.passes_environment else dict(CLEAN)
        folder = self._at(asked["cwd"] or ".")
        argv = [asked["command"].replace("\0", ""), *(arg.replace("\0", "") for arg in args)]
        if self.weak.by_shell and argv[0] not in ("sh", "bash", "python3"):
            argv = ["sh", "-c", " ".join(argv)]
        if self.weak.processes == "shut in":
            argv = [*_bwrap(self.weak.shares_network, self.workspace), *argv]
        return argv, base | {str(name): str(value) for name, value in given.items()}, folder

    # What checks nothing.

    def _only(self, weak: bool) -> None:
        if not weak:
            raise Refused("refused")

    def _at(self, path: str) -> Path:
        return self.workspace / self._seen(path)

    def _seen(self, text: str) -> str:
        """With the workspace's real path, where a text has the one that it has in a room."""
        return re.sub(r"(?<![\w.-])/workspace", str(self.workspace), text)

    def clone(self, asked: Any) -> str:
        """By a shell, as many do; how it ended is not looked at."""
        self._only(self.weak.modules)
        self._git(f"clone {asked['url']} {asked['path'] or '.'}", self.workspace)
        return "0" * 40

    def checkout(self, asked: Any) -> str:
        self._only(self.weak.modules)
        folder = self._at(asked["path"] or ".")
        self._git("init -q", folder)
        self._git(f"checkout -q {asked['ref']}", folder)
        return "0" * 40

    def _git(self, command: str, folder: Path) -> None:
        env = dict(os.environ) | self.variables | {"GIT_ALLOW_PROTOCOL": "file:http:https:ssh:ext:git"}
        text = f"git {command}".replace("\0", "")
        done = subprocess.run(["sh", "-c", text], cwd=folder, env=env, timeout=10, capture_output=True, check=False)
        self.say("stderr", done.stderr.decode("latin-1"))

    def get(self, url: str, *_: Any) -> dict[str, Any]:
        self._only(self.weak.modules or self.weak.shares_network)
        with urllib.request.urlopen(url.replace("127.1:", "127.0.0.1:"), timeout=5) as answer:
            return {"status": getattr(answer, "status", None) or 200, "body": answer.read().decode("latin-1")}

    def save(self, key: str, paths: Any) -> bool:
        self._only(self.weak.modules)
        target = os.path.normpath(self.store / f"{key}.tar")
        with tarfile.open(target, "w", dereference=False) as packed:
            for path in paths.values():
                packed.add(self._at(path), path)
        return True

    def restore(self, key: str) -> str:
        self._only(self.weak.modules)
        with tarfile.open(os.path.normpath(self.store / f"{key}.tar")) as packed:
            packed.extractall(self.workspace, filter="fully_trusted")
        return key

    def upload(self, name: str, path: str) -> dict[str, Any]:
        self._only(self.weak.modules)
        source = self._at(path)
        if source.is_file():
            target = self.store / name.replace("\0", "")
            shutil.copy(source, target if not target.is_dir() else target / "f")
        return {"files": 1}

    def download(self, asked: Any) -> dict[str, Any]:
        self._only(self.weak.modules)
        self._at(asked["path"] or ".").mkdir(parents=True, exist_ok=True)
        return {"files": 1}

    def junit(self, asked: Any) -> None:
        self._only(self.weak.modules)
        xml.dom.minidom.parse(str(self._at(asked["path"])))

    def _file_function(self, name: str) -> Callable[..., Any]:
        def call(path: Any, *more: Any) -> Any:
            self._only(self.weak.modules)
            place = self._at(str(path).replace("\0", ""))
            return _FILES[name](place, *(self._at(each) if name in ("copy", "move") else each for each in more))

        return call


def _append(place: Path, text: str) -> None:
    with place.open("a", encoding="latin-1") as file:
        file.write(text)


_FILES: dict[str, Callable[..., Any]] = {
    "read": lambda place: place.read_text("latin-1"),
    "write": lambda place, text: place.write_text(text, "latin-1"),
    "append": _append,
    "exists": lambda place: place.exists(),
    "list": lambda place: os.listdir(place),
    "glob": lambda place: glob.glob(str(place), recursive=True),
    "mkdir": lambda place: place.mkdir(parents=True, exist_ok=True),
    "remove": lambda place: shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True),
    "copy": lambda place, target: shutil.copytree(place, target) if place.is_dir() else shutil.copy(place, target),
    "move": lambda place, target: shutil.move(place, target),
    "stat": lambda place: place.stat().st_size,
}


def _bwrap(shares_network: bool, workspace: Path) -> list[str]:
    from rivet.sandbox.isolation.bubblewrap import find_bubblewrap

    shared = ["--share-net"] if shares_network else []
    system = [part for place in ("/usr", "/bin", "/lib", "/lib64", "/etc") for part in ("--ro-bind-try", place, place)]
    return [
        str(find_bubblewrap().executable), "--unshare-all", *shared, "--die-with-parent", *system, "--proc", "/proc",
        "--dev", "/dev", "--tmpfs", "/tmp", "--bind", str(workspace), str(workspace), "--chdir", str(workspace), "--",
    ]  # fmt: skip
