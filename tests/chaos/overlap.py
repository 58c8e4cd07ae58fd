"""`python -m tests.chaos.overlap --trials N --seed S`: runs of one concurrency group, kills, and who was seen when.

A trial is a group of its own with three or four runs, submitted at once. Each run says to a listener again and
again that it is at work; where two of a group are heard in turns, they overlapped.
"""

import argparse
import contextlib
import itertools
import random
import shutil
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from rivet.client import ApiProblem, ApiUnreachable

from ..system.rivet_home import RivetHome
from ..system.second_runner import SecondRunner
from .__main__ import say, start_home
from .faults import RESTARTED, Hit, inflict
from .plant import Plant
from .rounds import MOST_RESTARTS

KILL_EVERY_S = 4.0
ABREAST = 6
TRIAL_S = 120.0
HIT = (
    "runner", "second", "slot", "spooler", "control", "api", "backend", "redis", "agent", "lua", "flush", "drop",
    "freeze", "pause_control", "pause_api", "pause_redis",
)  # fmt: skip

_TELL = """
for ((i = 0; i < $0; i++)); do
  exec 3<>/dev/tcp/127.0.0.1/PORT && printf 'GET /%s/%s HTTP/1.0\\r\\n\\r\\n' GROUP "$RIVET_RUN_ID" >&3 &&
  IFS= read -r -t 20 answer <&3 && [[ $answer == *" 204 "* ]] && exec 3<&- || exit 9
  sleep 0.03
done
"""


class Heard:
    """A listener on loopback: which run of which group was heard, in order."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._heard: defaultdict[str, list[str]] = defaultdict(list)
        note = self._note

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                note(self.path)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_port)

    def _note(self, path: str) -> None:
        group, run = path.strip("/").split("/")
        with self._guard:
            self._heard[group].append(run)

    def of(self, group: str) -> list[str]:
        with self._guard:
            return list(self._heard[group])

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass(slots=True)
class Trial:
    group: str
    sources: list[tuple[str, str]]
    runs: list[dict[str, Any]] = field(default_factory=list)
    overlapping: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)


def interleaved(heard: list[str]) -> list[str]:
    """Runs that were heard again after another one of their group was."""
    seen: set[str] = set()
    again = []
    for run, _ in itertools.groupby(heard):
        if run in seen:
            again.append(run)
        seen.add(run)
    return again


def a_trial(number: int, port: int, chance: random.Random) -> Trial:
    group = f"turns-{number}"
    cancels = chance.random() < 0.15
    sources = [(f"{group}-{each}", _source(f"{group}-{each}", group, cancels, port, chance))
               for each in range(chance.randint(3, 4))]  # fmt: skip
    return Trial(group, sources)


def _source(slug: str, group: str, cancels: bool, port: int, chance: random.Random) -> str:
    tell = _TELL.replace("PORT", str(port)).replace("GROUP", group)
    stages = ", ".join(
        f'{{ name = "{name}", script = function() process.run{{command="bash", '
        f'args={{"-c", [==[{tell}]==], "{chance.choice((2, 8, 20))}"}}}} end }}'
        for name in ("a", "b")[: chance.randint(1, 2)]
    )
    more = f'on_lost = "{chance.choice(("error", "restart"))}"'
    turn = f'concurrency = {{ group = "{group}", cancel_running = {str(cancels).lower()} }}'
    grant = f'permissions = {{ network = {{ "127.0.0.1:{port}" }} }}'
    return f'pipeline = {{ name = "{slug}", {more}, {turn}, {grant}, stages = {{ {stages} }} }}'


class Trials:
    """Several trials side by side, while a thread of its own hits the system."""

    def __init__(self, plant: Plant, heard: Heard, chance: random.Random) -> None:
        self._plant, self._heard = plant, heard
        self._chance = random.Random(chance.randrange(10**9))
        self._over = threading.Event()
        self.hits: list[Hit] = []

    def hold(self, trials: list[Trial]) -> None:
        killer = threading.Thread(target=self._kill, name="killer", daemon=True)
        killer.start()
        try:
            with ThreadPoolExecutor(ABREAST) as pool:
                for number, _ in enumerate(pool.map(self._trial, trials), 1):
                    if number % 50 == 0:
                        say(f"{time.strftime('%H:%M:%S')} {number} trials, {len(self.hits)} hits")
        finally:
            self._over.set()
            killer.join()

    def _trial(self, trial: Trial) -> None:
        deadline = time.monotonic() + TRIAL_S
        ids = [self._submitted(slug, source, deadline) for slug, source in trial.sources]
        for (slug, _), run_id in zip(trial.sources, ids, strict=True):
            if run_id is None:
                trial.stuck.append(f"{slug} could not be submitted")
                continue
            try:
                trial.runs.append(self._plant.home.finish(run_id, max(deadline - time.monotonic(), 1.0)))
            except AssertionError as late:
                trial.stuck.append(f"run {run_id} ({slug}): {str(late)[:300]}")
        trial.overlapping = [f"run {run} of {trial.group}" for run in interleaved(self._heard.of(trial.group))]

    def _submitted(self, slug: str, source: str, deadline: float) -> str | None:
        """A submission that got no answer may have been heard: nobody else uses this pipeline."""
        home = self._plant.home
        while time.monotonic() < deadline:
            with contextlib.suppress(ApiUnreachable, ApiProblem):
                there = home.client.call("GET", f"/runs?pipeline={slug}")["items"]
                return str(there[0]["id"]) if there else home.submit(slug, source)
            time.sleep(0.2)
        return None

    def _kill(self) -> None:
        restarted: list[tuple[float, str]] = []
        while not self._over.wait(KILL_EVERY_S * self._chance.uniform(0.5, 1.5)):
            now = time.monotonic()
            restarted = [(at, name) for at, name in restarted if now - at < 60]
            recent = [name for _, name in restarted]
            name = self._chance.choice([one for one in HIT if recent.count(one) < MOST_RESTARTS])
            hit = inflict(name, self._plant, self._chance, 0.0)
            if hit is not None:
                self.hits.append(hit)
                restarted += [(now, name)] if name in RESTARTED else []


def hold_trials(count: int, seed: int) -> tuple[list[Trial], list[Hit]]:
    """On a system of its own: two runners of two slots, a lease of 2 s."""
    chance = random.Random(seed)
    with Heard() as heard:
        trials = [a_trial(number, heard.port, chance) for number in range(1, count + 1)]
        home = start_home(heard.port)
        try:
            with _second(home) as second:
                held = Trials(Plant(home, second), heard, chance)
                held.hold(trials)
        finally:
            home.down()
            shutil.rmtree(home.folder, ignore_errors=True)
    return trials, held.hits


@contextlib.contextmanager
def _second(home: RivetHome) -> Any:
    second = SecondRunner(home, "default")
    try:
        second.until_online()
        second.keep()
        yield second
    finally:
        second.end()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.overlap", description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    say(f"overlap: {asked.trials} trials, seed {seed}")
    began = time.monotonic()
    trials, hits = hold_trials(asked.trials, seed)
    for trial in trials:
        for what in (*(f"OVERLAP: {one}" for one in trial.overlapping), *(f"STUCK: {one}" for one in trial.stuck)):
            say(what)
    ends = Counter(f"{run['status']} {run['reason'] or ''}".strip() for trial in trials for run in trial.runs)
    say("runs: " + ", ".join(f"{end} {count}" for end, count in ends.most_common()))
    say("hits: " + ", ".join(f"{name} {count}" for name, count in sorted(Counter(h.fault for h in hits).items())))
    say(f"{time.monotonic() - began:.0f} s")
    bad = [sum(bool(one) for one in kind) for kind in zip(*((t.overlapping, t.stuck) for t in trials), strict=True)]
    say(f"{len(trials)} trials, {bad[0]} overlaps, {bad[1]} stuck")
    return 1 if any(bad) else 0


if __name__ == "__main__":
    sys.exit(main())
