"""A few rounds of chaos with what is hit given beforehand; `make chaos` plays as many as one likes."""

from collections.abc import Iterator

import pytest

from .__main__ import System
from .effects import Effects


@pytest.fixture(scope="module")
def chaos() -> Iterator[System]:
    with Effects() as effects:
        system = System(effects)
        yield system
        system.end()


@pytest.mark.parametrize(
    ("seed", "faults"),
    [
        (1, ("runner", "redis")),
        (2, ("slot", "flush")),
        (3, ("freeze",)),
        (4, ("control", "postgresql")),
        (5, ("api", "builder")),
    ],
)
def test_nothing_is_lost_or_doubled_or_stuck(chaos, seed, faults):
    played = chaos.rounds.play(seed, seed, faults)
    assert len(played.hits) >= 1
    assert not played.findings, "\n".join(played.findings.told())
