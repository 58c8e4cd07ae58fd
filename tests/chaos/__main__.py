"""`python -m tests.chaos --rounds N --seed S`: play rounds, and end with how many were lost, doubled, stuck."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from ..system.rivet_home import RivetHome
from ..system.second_runner import SecondRunner
from .effects import Effects
from .faults import FAULTS
from .flows import OTHER_QUEUE
from .plant import Plant
from .rounds import Round, Rounds


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None, help="of the whole; each round prints its own")
    parser.add_argument("--only", action="append", choices=sorted(FAULTS), help="hit this alone (repeatable)")
    parser.add_argument("--round-seed", type=int, help="play the one round of that seed again")
    asked = parser.parse_args()
    seed = asked.seed if asked.seed is not None else random.SystemRandom().randrange(10**6)
    seeds = [asked.round_seed] * asked.rounds if asked.round_seed is not None else _seeds(seed, asked.rounds)
    say(f"chaos: {len(seeds)} rounds, seed {seed}")
    played: list[Round] = []
    with Effects() as effects:
        system = System(effects)
        try:
            for number, one in enumerate(seeds, 1):
                played.append(system.rounds.play(number, one, asked.only))
                if played[-1].findings.stuck:
                    system.renew()
        except KeyboardInterrupt:
            say("interrupted")
        finally:
            system.end()
    say(summary(played))
    bad = [sum(bool(kind) for kind in kinds) for kinds in zip(*map(_kinds, played), strict=True)] or [0, 0, 0]
    say(f"{len(played)} rounds, {bad[0]} lost, {bad[1]} doubled, {bad[2]} stuck")
    return 1 if any(bad) or len(played) < len(seeds) else 0


class System:
    """The system under chaos; a new one takes its place after a round from which it did not recover."""

    def __init__(self, effects: Effects) -> None:
        self._effects = effects
        self._home: RivetHome | None = None
        self._second: SecondRunner | None = None
        self.renew()

    def renew(self) -> None:
        self.end()
        self._home = start_home(self._effects.port)
        self._second = SecondRunner(self._home, "default", OTHER_QUEUE)
        self._second.until_online()
        self._second.keep()
        self.rounds = Rounds(Plant(self._home, self._second), self._effects, say)

    def end(self) -> None:
        if self._second is not None:
            self._second.end()
            self._second = None
        if self._home is not None:
            self._home.down()
            shutil.rmtree(self._home.folder, ignore_errors=True)
            self._home = None


def start_home(port: int, slots: int = 2) -> RivetHome:
    """A whole system with a lease of 2 s, whose runner may reach the listener."""
    folder = Path(tempfile.mkdtemp(prefix="rvc"))
    folder.chmod(0o755)
    home = RivetHome(
        folder,
        environment={"RIVET_LEASE_SECONDS": "2", "RIVET_ALLOW_HOSTS": f"127.0.0.1:{port}"},
        slots=slots,
    )
    home.up()
    return home


def summary(played: list[Round]) -> str:
    """How often each fault was inflicted, and how the runs ended."""
    hits = Counter(hit.fault for one in played for hit in one.hits)
    ends = Counter(outcome for one in played for outcome in one.outcomes)
    return "\n".join([
        "hits: " + ", ".join(f"{name} {count}" for name, count in sorted(hits.items())),
        "runs: " + ", ".join(f"{name} {count}" for name, count in sorted(ends.items())),
    ])


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}" if line.startswith(("round", "chaos")) else line, flush=True)


def _seeds(seed: int, count: int) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(10**9) for _ in range(count)]


def _kinds(one: Round) -> tuple[list[str], list[str], list[str]]:
    return one.findings.lost, one.findings.doubled, one.findings.stuck


if __name__ == "__main__":
    sys.exit(main())
