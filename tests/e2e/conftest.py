"""A system as its user starts it, and the command line as its user types it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

RIVET = (sys.executable, "-P", "-m", "rivet")
REPOSITORY = {
    "tests/test_sums.py": "def test_sums():\n    assert 1 + 1 == 2\n",
    "README.md": "A repository with one test.\n",
}


def hear_interrupts() -> None:
    """As a shell in a terminal starts its commands; what itself runs in the background passes on to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass(frozen=True)
class Terminal:
    """Types commands in `folder`, with a RIVET_HOME and nothing else of Rivet in the environment."""

    folder: Path
    home: Path

    def env(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RIVET_")}
        path = os.pathsep.join((str(Path(sys.executable).parent), kept.get("PATH", os.defpath)))
        return kept | {"RIVET_HOME": str(self.home), "PATH": path, "NO_COLOR": "1"} | more

    def rivet(
        self, *arguments: str, timeout_s: float = 100, **env: str
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            (*RIVET, *arguments),
            cwd=self.folder,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout
        return done

    def begin(self, *arguments: str, **env: str) -> "subprocess.Popen[str]":
        """Start a command without waiting for it."""
        return subprocess.Popen(
            (*RIVET, *arguments),
            cwd=self.folder,
            env=self.env(**env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=hear_interrupts,
        )

    def file(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return name

    def pipeline(self, name: str, script: str, *, head: str = "") -> str:
        """A file with a pipeline of one stage, `work`."""
        stage = f'{{ name = "work", script = function()\n{script}\nend }}'
        return self.file(f"{name}.lua", f'return {{ name = "{name}", {head} stages = {{ {stage} }} }}\n')


def make_repository(folder: Path) -> Path:
    """A real git repository on `main`, readable for every user of this machine."""
    for name, text in REPOSITORY.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    author = ("-c", "user.name=Alice", "-c", "user.email=alice@rivet.test")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*author, "commit", "-q", "-m", "first")):
        subprocess.run(("git", "-C", str(folder), *command), check=True, capture_output=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal on a machine where `rivet up --detach` has been typed."""
    folder = tmp_path_factory.mktemp("e2e")
    (folder / "work").mkdir()
    made = Terminal(folder / "work", folder / "home")
    done = made.rivet("up", "--detach", "--port", "0", "--flower-port", "0")
    assert done.returncode == 0, done.stderr
    yield made
    assert made.rivet("down").returncode == 0


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal on a machine where nothing has been started; what is started is ended."""
    (tmp_path / "work").mkdir()
    made = Terminal(tmp_path / "work", tmp_path / "home")
    yield made
    assert made.rivet("down").returncode == 0
