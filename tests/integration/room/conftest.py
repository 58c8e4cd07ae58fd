"""Rooms for tests: opened with the system's tools, closed whatever happens."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rivet.runner.reach import ProxyRules
from rivet.runner.room import Ended, Room, RoomSpec, prepare_workspace
from rivet.runner.tools import ToolRoots

# Without namespaces all processes of a user count: tests that run side by side are of different ones.
_FIRST_UID = 299_000 + 2 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
STAGE_UID = _FIRST_UID if os.geteuid() == 0 else None
OTHER_UID = _FIRST_UID + 1 if os.geteuid() == 0 else None


@dataclass
class Heard:
    """What a command wrote."""

    out: bytearray = field(default_factory=bytearray)
    err: bytearray = field(default_factory=bytearray)

    def take(self, stream: str, data: bytes) -> None:
        (self.out if stream == "stdout" else self.err).extend(data)

    @property
    def text(self) -> str:
        return self.out.decode(errors="replace")

    @property
    def errors(self) -> str:
        return self.err.decode(errors="replace")


@pytest.fixture
def spec(tmp_path: Path) -> RoomSpec:
    """What a room of this test is made of: an empty workspace, a home, and the system's tools."""
    prepare_workspace(tmp_path / "workspace", STAGE_UID)
    prepare_workspace(tmp_path / "home", STAGE_UID)
    return RoomSpec(tmp_path / "workspace", tmp_path / "home", STAGE_UID, ToolRoots(), ping_s=20.0)


@pytest.fixture
def host_folder() -> Iterator[Path]:
    """A folder that every user may pass, for rooms that have the host's names of files."""
    with tempfile.TemporaryDirectory(prefix="rivet-room-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def host_spec(host_folder: Path) -> Callable[..., RoomSpec]:
    """What a room at level `landlock` or `none` is made of; each call makes another workspace."""

    def make(level: str, uid: int | None = STAGE_UID, **more: Any) -> RoomSpec:
        folder = Path(tempfile.mkdtemp(prefix="job-", dir=host_folder))
        folder.chmod(0o711)
        for name in ("workspace", "home"):
            prepare_workspace(folder / name, uid)
        tools = ToolRoots(path="/usr/local/bin:/usr/bin:/bin")
        return RoomSpec(folder / "workspace", folder / "home", uid, tools, 20.0, isolation=level, **more)

    return make


@pytest.fixture
def opened_on_host(host_spec: Callable[..., RoomSpec]) -> Iterator[Callable[..., Room]]:
    """Opens such rooms, and closes them at the end."""
    with ExitStack() as stack:
        yield lambda level, **more: stack.enter_context(Room(host_spec(level, **more)))


@pytest.fixture
def opened(spec: RoomSpec) -> Iterator[Callable[..., Room]]:
    """Opens rooms of `spec`, with fields of it replaced; closes them at the end."""
    with ExitStack() as stack:
        yield lambda **changed: stack.enter_context(Room(replace(spec, **changed)))


@pytest.fixture
def room(opened: Callable[..., Room]) -> Room:
    return opened()


@pytest.fixture
def shell() -> Callable[..., tuple[Ended, Heard]]:
    """Runs a line of shell in a room: how it ended, and what it wrote."""

    def run(room: Room, line: str, **more: Any) -> tuple[Ended, Heard]:
        heard = Heard()
        more.setdefault("timeout_s", 30.0)
        more.setdefault("env", {})
        ended = room.run(["/bin/sh", "-c", line], on_output=heard.take, **more)
        return ended, heard

    return run


__all__ = ["Heard", "ProxyRules"]
