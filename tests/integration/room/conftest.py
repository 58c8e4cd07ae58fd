"""Rooms for tests: opened with the system's tools, closed whatever happens."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from rivet.runner.reach import ProxyRules
from rivet.runner.room import Ended, Room, RoomSpec, prepare_workspace
from rivet.runner.tools import ToolRoots

STAGE_UID = 299_000 if os.geteuid() == 0 else None


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
