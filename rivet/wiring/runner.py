"""A runner's composition root: what its parent process does at the start, and the desk of each slot."""

import fcntl
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import redis
from celery import Celery

from rivet import __version__
from rivet.client import ApiProblem, ApiUnreachable, Client
from rivet.dispatch import publish_chain
from rivet.domain.ids import Epoch, JobId, SessionId, StageKey
from rivet.domain.isolation import Isolation, NotHad, chosen
from rivet.domain.order import PROTOCOL
from rivet.domain.runner import own_queue_of
from rivet.journal.stream import StreamWriter
from rivet.modules.plugins import find_plugins
from rivet.modules.registry import Modules
from rivet.redis_link import connect
from rivet.runner.desk import Desk, PublishChain
from rivet.runner.hands import Hands
from rivet.runner.reach import ReachPolicy
from rivet.runner.tools import ToolRoots, find_tools, passable
from rivet.runner.uids import StageUids
from rivet.runner.workspaces import Workspaces
from rivet.sandbox.isolation.host import is_on_host
from rivet.sandbox.isolation.probe import probe
from rivet.sandbox.lua import Zygote
from rivet.wiring.settings import Settings

_log = logging.getLogger(__name__)

API_WAIT_S = 120.0
SPOOLER_ENDS_S = 10.0  # a look that waits for an API, and the word of leaving


class CannotServe(Exception):
    """The runner cannot start: the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Station:
    """What all slots of a runner share; made in the parent, inherited by the slots."""

    settings: Settings
    folder: Path
    session: SessionId
    tools: ToolRoots
    isolation: str
    slots: int
    modules: Modules

    @property
    def jobs(self) -> Path:
        return self.folder / "jobs"


def open_station(settings: Settings, queues: Sequence[str], slots: int) -> Station:
    """Be the one live runner of this name: lock its folder, look at the isolation, register.

    Raises CannotServe.
    """
    if not settings.url or not settings.token or not settings.broker_url:
        raise CannotServe("a runner needs RIVET_URL, RIVET_TOKEN (of kind runner) and RIVET_BROKER_URL")
    folder = settings.home / "runners" / settings.runner_name
    (folder / "jobs").mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        _let_stages_pass(folder / "jobs")
    _lock(folder)
    Hands(folder / "jobs").forget()
    modules = station_modules(settings)
    first = settings.stage_uid_range()[0]
    try:
        isolation = chosen(settings.isolation, lambda level: probe(level, first, settings.home))
    except NotHad as why:
        raise CannotServe(str(why)) from None
    _say_isolation(isolation)
    tools = station_tools(settings, isolation.level)
    if os.geteuid() == 0 and is_on_host(isolation.level):
        _let_stages_pass_home(settings.home)
    session = _register(settings, folder, tuple(queues), slots, isolation.level)
    return Station(settings, folder, session, tools, isolation.level, slots, modules)


def _say_isolation(isolation: Isolation) -> None:
    for stronger in isolation.missed:
        _log.warning(
            "stages are shut in at level %s, since %s cannot be had: %s. %s",
            isolation.level, stronger.level, stronger.detail, stronger.mend,
        )  # fmt: skip
    if isolation.warning is not None:
        _log.warning("%s", isolation.warning)
    if isolation.gaps:
        _log.warning("what %s leaves open here: %s", isolation.level, "; ".join(isolation.gaps))


def station_tools(settings: Settings, level: str) -> ToolRoots:
    """What stages see of this machine's tools, at a level of isolation."""
    path = os.pathsep.join(settings.tools) or os.environ.get("PATH", os.defpath)
    found = find_tools(path, rivet_home=settings.home)
    if os.geteuid() != 0 or not is_on_host(level):
        return found
    return passable(found, settings.stage_uid_range()[0])


def station_modules(settings: Settings) -> Modules:
    """Our modules and the allowed plug-ins'; what is wrong with one is logged, and it is left out."""
    found = find_plugins(settings.plugins)
    for fault in found.faults:
        _log.warning("%s; scripts do without it: `rivet doctor` tells what to do", fault.told())
    return Modules(found.functions)


def _let_stages_pass(folder: Path) -> None:
    """A stage's user enters its workspace by path: every folder above must let it through, not list."""
    for place in (folder, *folder.parents[:2]):
        place.chmod(place.stat().st_mode | 0o011)


def _let_stages_pass_home(home: Path) -> None:
    """Stages pass Rivet's own folder too where rooms have the host's names of files.

    What is private in it has modes of its own.
    """
    home.chmod(home.stat().st_mode | 0o011)


_locks: list[int] = []


def _lock(folder: Path) -> None:
    """Kept until the process ends. Slots inherit it, but they die with their parent."""
    fd = os.open(folder / "runner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + 5
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise CannotServe(
                    f"another runner works in {folder}; give this one another name (RIVET_RUNNER_NAME)"
                ) from None
            time.sleep(0.1)
        else:
            _locks.append(fd)
            return


def _register(
    settings: Settings, folder: Path, queues: tuple[str, ...], slots: int, isolation: str
) -> SessionId:
    note = folder / "session"
    client = Client(settings.url, settings.token, timeout_s=10)
    body = {
        "kept_for_s": Workspaces(folder / "jobs").since_s(),
        "kept_longest_s": settings.keeping().longest_s,
        "name": settings.runner_name,
        "queues": queues,
        "slots": slots,
        "isolation": isolation,
        "version": __version__,
        "protocol": PROTOCOL,
        "previous_session": note.read_text().strip() if note.exists() else None,
    }
    deadline = time.monotonic() + API_WAIT_S
    told = False
    while True:
        try:
            answer = client.call("POST", "/runner/register", body)
            break
        except ApiProblem as problem:
            if problem.status == 409 and time.monotonic() < deadline and problem.code == "conflict":
                reason = problem.detail
            elif problem.status < 500:
                raise CannotServe(f"the API refused this runner: {problem.detail}") from None
            else:
                reason = problem.detail
        except ApiUnreachable as error:
            reason = str(error)
        if time.monotonic() > deadline:
            raise CannotServe(f"no API answered within {API_WAIT_S:.0f} s: {reason}")
        if not told:
            _log.warning("waiting for the API: %s", reason)
        told = True
        time.sleep(0.5)
    session = SessionId(UUID(answer["session"]))
    with os.fdopen(os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(str(session))
    return session


def take_back_messages(settings: Settings) -> int:
    """Put what the last process of this name held unacknowledged back where it came from; how many.

    Safe because the name's lock is held: nobody else works with these keys.
    """
    client: Any = connect(settings.broker_url)
    name = settings.runner_name
    unacked, index = f"unacked:{name}", f"unacked_index:{name}"
    moved = 0
    for tag, raw in client.hgetall(unacked).items():
        payload, _exchange, queue = json.loads(raw)
        payload["headers"]["redelivered"] = True
        payload["properties"]["delivery_info"]["redelivered"] = True
        pipe = client.pipeline(transaction=True)
        pipe.hdel(unacked, tag)
        pipe.zrem(index, tag)
        pipe.rpush(queue, json.dumps(payload))
        moved += int(pipe.execute()[0])
    return moved


def wait_for_broker(settings: Settings) -> None:
    """Raises CannotServe where Redis does not answer for two minutes."""
    deadline = time.monotonic() + API_WAIT_S
    while True:
        try:
            connect(settings.broker_url).ping()
            return
        except redis.RedisError as error:
            if time.monotonic() > deadline:
                raise CannotServe(f"Redis does not answer: {error}") from None
            time.sleep(0.5)


def chain_publisher(app: Celery, runner: str) -> PublishChain:
    """Publishes a job's chain to the runner's own queue."""
    own = own_queue_of(runner)

    def publish(job: JobId, epoch: Epoch, stages: Sequence[tuple[StageKey, str]], label: str) -> None:
        publish_chain(app, job, epoch, stages, queue=own, label=label)

    return publish


def desk_of(station: Station, app: Celery) -> Desk:
    """A slot's own desk: connections and a zygote of its own, made after the fork, in its main thread."""
    settings = station.settings
    uids = StageUids(station.jobs, *settings.stage_uid_range())
    return Desk(
        runner=settings.runner_name,
        session=station.session,
        jobs=station.jobs,
        client=Client(settings.url, settings.token, timeout_s=10),
        stream=StreamWriter(settings.broker_url, settings.runner_name),
        lease_s=settings.lease_seconds,
        tools=station.tools,
        reach=ReachPolicy(
            allow_network=settings.allow_network,
            allow_hosts=settings.allow_hosts,
            allow_paths=settings.allow_paths,
        ),
        uids=uids,
        isolation=station.isolation,
        zygote=Zygote(uids.of_lua),
        modules=station.modules,
        limits=settings.limits(),
        kept_bytes=settings.keeping().most_bytes if settings.kept_hours > 0 else 0,
        publish_chain=chain_publisher(app, settings.runner_name),
    )


class SpoolerProcess:
    """Keeps the spooler running beside the slots; looked after from the parent's timer."""

    def __init__(self, station: Station) -> None:
        self._station = station
        self._process: subprocess.Popen[bytes] | None = None

    def look_after(self) -> None:
        """Start it if it is not there. Must be called from the thread that lives as long as the runner."""
        if self._process is not None and self._process.poll() is None:
            return
        if self._process is not None:
            _log.warning("the spooler ended with %s and is started again", self._process.returncode)
        station, settings = self._station, self._station.settings
        told = json.dumps({
            "runner": settings.runner_name,
            "lease_s": settings.lease_seconds,
            "keeping": asdict(settings.keeping()),
            "session": str(station.session),
            "slots": station.slots,
            "folder": str(station.folder),
            "parent": os.getpid(),
        })
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rivet.wiring.spooler", told],
            env=dict(os.environ)
            | {
                "RIVET_BROKER_URL": settings.broker_url,
                "RIVET_URL": settings.url,
                "RIVET_TOKEN": settings.token,
            },
            stdin=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(SPOOLER_ENDS_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
