"""Levels of isolation, from the weakest to the strongest, and what this version can give of them."""

from dataclasses import dataclass

LEVELS = ("none", "landlock", "namespaces", "container")
"""`none`: no isolation. `landlock`: files and system calls. `namespaces`: a room of its own for each attempt.
`container`: a container of its own."""
BUILT = ("namespaces",)
AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Isolation:
    """What a machine was found to give: a level, what was tried, and what would change it."""

    level: str
    detail: str
    mend: str = ""


class NotHad(Exception):
    """The level that was asked for cannot be had; the message says why, and what would help."""


def is_below(level: str, least: str | None) -> bool:
    """Whether a level is weaker than the least that is accepted; one that is not known is the weakest."""
    return least is not None and _strength(level) < _strength(least)


def chosen(asked: str, found: Isolation) -> str:
    """The level that a runner works at: that of its setting, or with `auto` the strongest there is.

    It is never another than was asked for, and never none. Raises NotHad.
    """
    if asked not in (AUTO, *LEVELS):
        known = ", ".join((AUTO, *reversed(LEVELS)))
        raise NotHad(f'RIVET_ISOLATION: expected one of {known}, given "{asked}"')
    if asked != AUTO and asked not in BUILT:
        raise NotHad(
            f'RIVET_ISOLATION: this version of Rivet has no level "{asked}": its runners shut stages in by '
            f"{' or '.join(BUILT)}. Leave it at auto"
        )
    if found.level not in BUILT:
        raise NotHad(f"stages cannot be shut in on this machine: {found.detail}. {found.mend}".strip())
    return found.level


def _strength(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else -1
