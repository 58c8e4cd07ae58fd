"""Cases of attacks: how a file of them is read, and what stands in one for what a run meets.

A block begins with `--- name: NAME | expect: A|B` and goes on to the next; lines before the first one are
comments. A case may say in comments of its own what it is granted: `-- grants: none` gives neither hosts nor
a network, `-- also: KEY=VALUE` adds a field to its stage, as in `-- also: retry=2`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

OUTCOMES = ("safe", "error", "denied", "timeout", "memory")

_HEAD = re.compile(r"^--- *name: *(?P<name>.*?) *(?:\| *expect: *(?P<expect>.*?) *)?$")
_PLACEHOLDER = re.compile(r"@@([A-Z0-9_]+)@@")
_TEXTS = re.compile(r"\[\[.*?\]\]|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|--[^\n]*", re.DOTALL)
_CONTAINERS = re.compile(r"(?<![\w.])(docker|container)\s*[.\[]")
_GRANTS_NONE = re.compile(r"^-- grants: none\s*$", re.MULTILINE)
_ALSO = re.compile(r"^-- also: (.+)$", re.MULTILINE)


class UnreadableCases(Exception):
    """A file holds no cases, or one of them cannot be understood; the message names the line."""


@dataclass(frozen=True, slots=True)
class Case:
    """One attack. `expect` are the outcomes that are right; none at all means that any but a crash is."""

    name: str
    expect: frozenset[str]
    lua: str
    line: int = 0

    @property
    def names_containers(self) -> bool:
        """It calls what Rivet does not have yet: not in a text or a comment, but as Lua."""
        return _CONTAINERS.search(_TEXTS.sub('""', self.lua)) is not None

    @property
    def is_granted_network(self) -> bool:
        return _GRANTS_NONE.search(self.lua) is None

    @property
    def stage_fields(self) -> list[str]:
        """Fields of the stage besides its script, as Lua."""
        return _ALSO.findall(self.lua)

    @property
    def placeholders(self) -> set[str]:
        return set(_PLACEHOLDER.findall(self.lua))

    def filled(self, values: Mapping[str, str]) -> str:
        """Its Lua with the placeholders that are known filled in; an unknown one stays as it is."""
        return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), self.lua)


def read_cases(path: Path) -> list[Case]:
    """All cases of a file, in order. Raises UnreadableCases and OSError."""
    text = path.read_bytes().decode("utf-8", "surrogateescape").replace("\r\n", "\n")
    cases: list[Case] = []
    head: re.Match[str] | None = None
    begun, body = 0, list[str]()
    for number, line in enumerate([*text.split("\n"), "--- name: "], 1):
        if not line.startswith("--- name:"):
            body.append(line)
            continue
        if head is not None:
            cases.append(_case(path, head, begun, body))
        head, begun, body = _HEAD.match(line), number, []
    if not cases:
        raise UnreadableCases(f"{path}: holds no case; one begins with `--- name: NAME | expect: A|B`")
    return cases


def _case(path: Path, head: re.Match[str], line: int, body: list[str]) -> Case:
    if not head["name"]:
        raise UnreadableCases(f"{path}:{line}: a case has no name")
    expect = {word.strip() for word in (head["expect"] or "").split("|") if word.strip()}
    unknown = expect - set(OUTCOMES)
    if unknown:
        raise UnreadableCases(
            f"{path}:{line}: {head['name']} expects {', '.join(sorted(unknown))}; known are {', '.join(OUTCOMES)}"
        )
    return Case(head["name"], frozenset(expect or OUTCOMES), "\n".join(body), line)
