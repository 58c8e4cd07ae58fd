"""What is done to the system: each fault finds its victim, hits it, and says whom it may have cost."""

import contextlib
import random
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import psutil
import redis

from .plant import Plant

EVERY_RUNNER = "*"
"""Instead of a runner's name."""
FIND_S = 1.5
FREEZE_S = 3.5
"""Past a lease of 2 s."""
PAUSE_S = 2.5


@dataclass(slots=True)
class Hit:
    """What was hit, `at_s` seconds after the runs were submitted.

    `jobs` may have lost their slot, or its room or Lua child, which is the same; all of `runner` may have.
    """

    fault: str
    at_s: float
    victims: str
    jobs: set[str] = field(default_factory=set)
    runner: str | None = None

    def told(self) -> str:
        return f"{self.at_s:.2f} s {self.fault} ({self.victims})"


Fault = Callable[[Plant, random.Random], Hit | None]


def _kill_part(name: str) -> Fault:
    def fault(plant: Plant, _chance: random.Random) -> Hit | None:
        return _signalled(name, [plant.part(name)], plant.runner_name() if name == "runner" else None)

    return fault


def _kill_second(plant: Plant, _chance: random.Random) -> Hit | None:
    """The second runner; who keeps it starts it again."""
    if plant.second is None:
        return None
    return _signalled("second runner", [psutil.Process(plant.second.process.pid)], "second")


def _kill_api(plant: Plant, chance: random.Random) -> Hit | None:
    """The process that listens, or the one that answers."""
    master = plant.part("api")
    return _signalled("api", [chance.choice([master, *master.children()])])


def _kill_backend(plant: Plant, chance: random.Random) -> Hit | None:
    """A backend killed makes PostgreSQL end all others and recover."""
    backends = [one for one in plant.part("postgresql").children() if "[local]" in " ".join(one.cmdline())]
    return _signalled("postgresql backend", [chance.choice(backends)]) if backends else None


def _kill_slot(plant: Plant, chance: random.Random) -> Hit | None:
    slots = plant.all_slots()
    held = plant.jobs_held()
    working = [slot for slot in slots if slot.pid in held]
    if not slots:
        return None
    slot = chance.choice(working or slots)
    with _standing_still(slot):
        jobs = plant.jobs_held().get(slot.pid, set())
        hit = _signalled("slot", [slot])
    hit.jobs = jobs
    return hit


def _kill_below(what: str) -> Fault:
    def fault(plant: Plant, chance: random.Random) -> Hit | None:
        slots = [slot for slot in plant.all_slots() if plant.below(slot, what)]
        if not slots:
            return None
        slot = chance.choice(slots)
        with _standing_still(slot):
            jobs = plant.jobs_held().get(slot.pid, set())
            victims = plant.below(slot, what)[:1]
            if not victims:
                return None
            hit = _signalled(what, victims)
        hit.jobs = jobs
        return hit

    return fault


@contextlib.contextmanager
def _standing_still(slot: psutil.Process) -> Iterator[None]:
    """While it is looked up which job a slot has: in the time that this takes it may else have gone on to another."""
    slot.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            slot.resume()


def _kill_spooler(plant: Plant, _chance: random.Random) -> Hit | None:
    spooler = plant.spooler()
    return _signalled("spooler", spooler) if spooler else None


def _freeze_runner(plant: Plant, _chance: random.Random) -> Hit | None:
    """Parent, slots and spooler stand still past the lease, and go on then; the rooms were not stopped."""
    victims = [plant.part("runner"), *plant.slots(), *plant.spooler()]
    return _stopped("runner frozen", victims, FREEZE_S, plant.runner_name())


def _freeze_second(plant: Plant, _chance: random.Random) -> Hit | None:
    if plant.second is None:
        return None
    runner = psutil.Process(plant.second.process.pid)
    return _stopped("second runner frozen", [runner, *runner.children()], FREEZE_S, "second")


def _pause(name: str) -> Fault:
    def fault(plant: Plant, _chance: random.Random) -> Hit | None:
        part = plant.part(name)
        return _stopped(f"{name} paused", [part, *part.children(recursive=True)], PAUSE_S)

    return fault


def _drop_connections(plant: Plant, _chance: random.Random) -> Hit | None:
    """Every connection that the first runner's processes have to Redis is closed by the server."""
    ports = {
        str(connection.laddr.port)
        for process in [plant.part("runner"), *plant.slots(), *plant.spooler()]
        for connection in process.net_connections("tcp")
        if connection.laddr
    }
    client = plant.redis()
    dropped = 0
    for one in client.client_list():
        if one["addr"].rpartition(":")[2] in ports:
            with contextlib.suppress(redis.RedisError):
                dropped += int(bool(client.execute_command("CLIENT", "KILL", "ID", one["id"])))
    return Hit("connections dropped", 0.0, f"{dropped} of the runner")


def _flush(plant: Plant, _chance: random.Random) -> Hit | None:
    plant.redis().flushall()
    return Hit("redis flushed", 0.0, "FLUSHALL")


def _fill(plant: Plant, _chance: random.Random) -> Hit | None:
    """Redis refuses every write for a while, as with a full disk or memory."""
    client = plant.redis()
    client.config_set("maxmemory", "1")
    try:
        time.sleep(PAUSE_S)
    finally:
        _until_taken(lambda: plant.redis().config_set("maxmemory", "0"))
    return Hit("redis full", 0.0, f"{PAUSE_S} s")


def _refuse_writes(plant: Plant, _chance: random.Random) -> Hit | None:
    """PostgreSQL answers, and takes no write for a while."""
    plant.set_read_only(True)
    try:
        time.sleep(PAUSE_S)
    finally:
        plant.set_read_only(False)
    return Hit("postgresql read-only", 0.0, f"{PAUSE_S} s")


FAULTS: dict[str, Fault] = {
    "runner": _kill_part("runner"),
    "second": _kill_second,
    "slot": _kill_slot,
    "spooler": _kill_spooler,
    "lua": _kill_below("lua"),
    "zygote": _kill_below("zygote"),
    "agent": _kill_below("agent"),
    "builder": _kill_below("builder"),
    "control": _kill_part("control"),
    "api": _kill_api,
    "postgresql": _kill_part("postgresql"),
    "backend": _kill_backend,
    "redis": _kill_part("redis"),
    "freeze": _freeze_runner,
    "freeze_second": _freeze_second,
    "pause_control": _pause("control"),
    "pause_api": _pause("api"),
    "pause_postgresql": _pause("postgresql"),
    "pause_redis": _pause("redis"),
    "drop": _drop_connections,
    "flush": _flush,
    "fill": _fill,
    "read_only": _refuse_writes,
}

RESTARTED = frozenset({"runner", "control", "api", "postgresql", "redis"})
"""Faults after which `rivet up` has to start a part again, which it does at most five times a minute."""


def inflict(name: str, plant: Plant, chance: random.Random, since: float) -> Hit | None:
    """Hit; None if within 1.5 s there was no such victim. `since` is when the runs were submitted."""
    deadline = time.monotonic() + FIND_S
    while True:
        began = time.monotonic()
        with contextlib.suppress(psutil.Error, redis.RedisError, OSError):
            hit = FAULTS[name](plant, chance)
            if hit is not None:
                hit.at_s = began - since
                return hit
        if time.monotonic() > deadline:
            return None
        time.sleep(0.01)


def _signalled(fault: str, victims: Iterable[psutil.Process], runner: str | None = None) -> Hit:
    killed = list(victims)
    for victim in killed:
        victim.send_signal(signal.SIGKILL)
    return Hit(fault, 0.0, f"SIGKILL {' '.join(str(v.pid) for v in killed)}", runner=runner)


def _stopped(fault: str, victims: list[psutil.Process], for_s: float, runner: str | None = None) -> Hit:
    stopped = []
    try:
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.suspend()
                stopped.append(victim)
        time.sleep(for_s)
    finally:
        for victim in reversed(stopped):
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()
    pids = " ".join(str(victim.pid) for victim in stopped)
    return Hit(fault, 0.0, f"SIGSTOP {for_s} s {pids}", runner=runner)


def _until_taken(change: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            change()
            return
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
