"""Levels of isolation, the weakest first: which of them a runner works at, and what that leaves open."""

from collections.abc import Callable
from dataclasses import dataclass

LEVELS = ("none", "landlock", "namespaces", "container")
"""`none`: no isolation. `landlock`: files, sockets and system calls. `namespaces`: a room of its own for each
attempt. `container`: a container of its own."""
BUILT = ("none", "landlock", "namespaces")
AUTO = "auto"
BY_AUTO = ("namespaces", "landlock")
"""What `auto` tries, the strongest first. It is never `none`."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came out when a level was tried on this machine: whether it held, and what would mend it if not.

    `gaps` are what is open even though the level is what it promises.
    """

    level: str
    holds: bool
    detail: str
    mend: str = ""
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Isolation:
    """The level that a runner works at. `missed` are stronger ones that `auto` tried before it."""

    level: str
    detail: str
    gaps: tuple[str, ...] = ()
    missed: tuple[Trial, ...] = ()

    @property
    def warning(self) -> str | None:
        """What is to be said loudly, at the runner's start and in every run."""
        return warning(self.level)


class NotHad(Exception):
    """The level that was asked for cannot be had; the message says why, and what would help."""


def is_below(level: str, least: str | None) -> bool:
    """Whether a level is weaker than the least that is accepted; one that is not known is the weakest."""
    return least is not None and _strength(level) < _strength(least)


def chosen(asked: str, attempt: Callable[[str], Trial]) -> Isolation:
    """The level that a runner works at: that of its setting, or with `auto` the strongest that held.

    `attempt` tries a level. It is never another than was asked for, and never `none` unless that was.
    Raises NotHad.
    """
    missed: list[Trial] = []
    for level in _candidates(asked):
        trial = attempt(level)
        if trial.holds:
            return Isolation(level, trial.detail, trial.gaps, tuple(missed))
        missed.append(trial)
    why = "; ".join(f"{trial.level}: {trial.detail}" for trial in missed)
    mends = " ".join(trial.mend for trial in missed if trial.mend)
    raise NotHad(f"stages cannot be shut in on this machine: {why}. {mends}".strip())


def warning(level: str) -> str | None:
    """What whoever relies on a level has to know before all else; None where it shuts stages in."""
    if level != "none":
        return None
    return (
        "isolation is none: nothing shuts this runner's stages in. They can read and change what their user "
        "can, reach every network, and see other runs"
    )


def _candidates(asked: str) -> tuple[str, ...]:
    if asked == AUTO:
        return BY_AUTO
    if asked not in LEVELS:
        known = ", ".join((AUTO, *reversed(LEVELS)))
        raise NotHad(f'RIVET_ISOLATION: expected one of {known}, given "{asked}"')
    if asked not in BUILT:
        raise NotHad(
            f'RIVET_ISOLATION: this version of Rivet has no level "{asked}": its runners shut stages in by '
            f"{' or '.join(BY_AUTO)}. Leave it at auto"
        )
    return (asked,)


def _strength(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1
