"""What stands around a room's agent, by the level of isolation: it is started here and told what it needs."""

import os
import re
import resource
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rivet.domain.limits import Limits
from rivet.runner.reach import ProxyRules
from rivet.runner.room_link import MOST_LISTENERS
from rivet.runner.room_programs import ON_HOST, compiled, library
from rivet.runner.tools import ToolRoots
from rivet.sandbox.agent import SPARE_PROCESSES
from rivet.sandbox.isolation.bind import Bind
from rivet.sandbox.isolation.enclose import Enclosing
from rivet.sandbox.isolation.enclosure import OPEN_FILES, Enclosed, Layout
from rivet.sandbox.isolation.host import (
    HostEnclosure,
    HostLevel,
    enclose_on_host,
    is_on_host,
    make_layout,
    remove_layout,
)
from rivet.sandbox.isolation.namespaces import LAYOUT, Enclosure

UNWATCHED = Limits(process_memory=0, workspace=0)
"""For rooms of ours, in which nobody else's processes are: files and memory of any size."""

WATCHED = ("processes", "process_memory", "workspace", "open_files")
"""What the agent sees to, in the order in which it is told."""

_AGENT = "agent.pyc"
_FLAGS = ("-I", "-S", "-X", "utf8")


@dataclass(frozen=True, slots=True)
class RoomSpec:
    """What a room is made of.

    `home` is the folder of the job's HOME; None gives an empty one that nobody can write to. `uid` is the
    host's user of the workspace, None where the runner is no root. `network` is None for a room without any.
    `read_only` are paths of the host that are visible under their own name, `binds` those under another,
    `files` small files of ours by their path below the layout's `ours`. The room ends by itself after
    `ping_s` seconds without a word from its supervisor. It is ended when it goes over `limits`: 0 of memory
    or files is without one. `isolation` is the runner's level.
    """

    workspace: Path
    home: Path | None
    uid: int | None
    tools: ToolRoots
    ping_s: float
    network: ProxyRules | None = None
    read_only: tuple[Path, ...] = ()
    binds: tuple[Bind, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    hostname: str = "stage"
    limits: Limits = UNWATCHED
    isolation: str = "namespaces"

    @property
    def is_on_host(self) -> bool:
        """Whether its processes are the host's, with the host's names of files."""
        return is_on_host(self.isolation)


class Shell:
    """A room's agent in what encloses it. `listener` is the proxy's, where the agent does not make it."""

    def __init__(
        self,
        enclosed: Enclosed,
        layout: Layout,
        listener: socket.socket | None = None,
        *,
        is_made: bool = False,
    ) -> None:
        self.enclosed, self.layout, self.listener = enclosed, layout, listener
        self._is_made = is_made

    def close(self) -> bool:
        """End everything in it, wait until it is gone, and take away what was made for it; whether it is."""
        gone = self.enclosed.end()
        self.enclosed.release()
        if self._is_made and gone:
            remove_layout(self.layout)
        return gone


class Opening:
    """A shell that is being made, where its level lets that be begun; its agent hears us by `control`.

    That descriptor is to stay open until the shell is `opened`, or is given up: one of both.
    """

    def __init__(self, spec: RoomSpec, control: int) -> None:
        self._spec, self._control = spec, control
        self._enclosing = None if is_on_host(spec.isolation) else _begun(spec, control)

    def opened(self) -> Shell:
        """Raises CannotEnclose and NoBubblewrap where the level cannot be had."""
        if self._enclosing is not None:
            return Shell(self._enclosing.stands(), LAYOUT)
        assert is_on_host(self._spec.isolation)
        return _on_host(self._spec, self._control, self._spec.isolation)

    def give_up(self) -> None:
        if self._enclosing is not None:
            self._enclosing.give_up()


def _begun(spec: RoomSpec, control: int) -> Enclosing:
    doors = doors_of(spec.network) if spec.network is not None else {}
    listens = ",".join(["127.0.0.1:0", *(f"{address}:{port}" for address, port in doors)])
    return Enclosing(
        Enclosure(
            workspace=spec.workspace,
            home=spec.home,
            uid=spec.uid,
            binds=_binds(spec),
            files={**_hosts(spec.hostname, doors), **_ours(spec.files)},
            programs=_ours(_programs()),
            hostname=spec.hostname,
            open_files=_open_files(spec),
        ),
        _argv(spec, control, LAYOUT, listens if spec.network is not None else "", "pid-1"),
        keep=[control],
        is_agent=True,
    )


def _on_host(spec: RoomSpec, control: int, level: HostLevel) -> Shell:
    """The proxy listens on the host's own loopback: only the port is the room's."""
    layout = make_layout(spec.workspace, spec.home, spec.uid, {**spec.files, **_programs(ON_HOST)})
    listener = _listening() if spec.network is not None else None
    try:
        enclosed = enclose_on_host(
            HostEnclosure(
                level,
                layout,
                spec.uid,
                binds=_binds(spec),
                port=listener.getsockname()[1] if listener is not None else None,
                has_home=spec.home is not None,
                open_files=_open_files(spec),
            ),
            [layout.python, *_FLAGS, *_argv(spec, control, layout, "")],
            keep=[control],
        )
    except BaseException:
        if listener is not None:
            listener.close()
        remove_layout(layout)
        raise
    return Shell(enclosed, layout, listener, is_made=True)


def _listening() -> socket.socket:
    listener = socket.socket()
    try:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _argv(spec: RoomSpec, control: int, layout: Layout, listens: str, *cage: str) -> list[str]:
    folders = [layout.workspace, layout.home if spec.home is not None else "", layout.tmp if not cage else ""]
    told = [str(control), str(spec.ping_s), listens, _watched(spec.limits)]
    return [f"{layout.ours}/{_AGENT}", *told, *folders, *cage]


def _binds(spec: RoomSpec) -> tuple[Bind, ...]:
    return (
        *(bind for bind in spec.tools.binds if bind.is_link or bind.source.exists()),
        *(Bind(path, str(path)) for path in spec.read_only),
        *spec.binds,
    )


def _programs(*more: str) -> dict[str, bytes]:
    return {**library(*more), _AGENT: compiled("agent")}


def _ours(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{LAYOUT.ours}/{name}": content for name, content in files.items()}


def _open_files(spec: RoomSpec) -> int:
    return max(OPEN_FILES, spec.limits.open_files)


def _watched(limits: Limits) -> str:
    """For the agent. What the runner itself may not have, nobody in a room may be allowed."""
    told = {name: getattr(limits, name) for name in WATCHED}
    for name, number in (("processes", resource.RLIMIT_NPROC), ("open_files", resource.RLIMIT_NOFILE)):
        hard = resource.getrlimit(number)[1]
        if hard != resource.RLIM_INFINITY:
            told[name] = min(told[name], hard - (SPARE_PROCESSES + 1) * (name == "processes"))
    return ",".join(map(str, told.values()))


def doors_of(rules: ProxyRules) -> dict[tuple[str, int], str]:
    """Where in the room's loopback each granted host stands, by address and port."""
    doors: dict[tuple[str, int], str] = {}
    own: dict[str, str] = {"localhost": "127.0.0.1"}
    for host, port in rules.doors()[: MOST_LISTENERS - 1]:
        if re.fullmatch(r"127(\.\d{1,3}){3}", host):
            own[host] = host
        elif re.fullmatch(r"[0-9.]+|.*:.*", host):
            # Another address cannot be made to lead here: it is reached through the proxy alone.
            continue
        doors[own.setdefault(host, f"127.0.1.{len(own)}"), port] = host
    return doors


def _hosts(hostname: str, doors: Mapping[tuple[str, int], str]) -> dict[str, bytes]:
    """The room's /etc/hosts, in which the names of granted hosts lead to their doors."""
    named = {host: address for (address, _), host in doors.items() if host not in (address, "localhost")}
    lines = [f"127.0.0.1 localhost {hostname}", "::1 localhost"]
    lines += [f"{address} {host}" for host, address in named.items()]
    return {"/etc/hosts": "".join(f"{line}\n" for line in lines).encode()} if named else {}


def prepare_workspace(folder: Path, uid: int | None) -> None:
    """Make an empty folder that only the workspace's user (`uid`; None: oneself) may enter.

    Called before anything of a user is in it. Raises FileExistsError where something is there already.
    """
    folder.mkdir(mode=0o700, parents=True)
    if uid is not None:
        os.chown(folder, uid, uid, follow_symlinks=False)
