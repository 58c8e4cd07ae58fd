"""The Lua module `semver`: compare versions, count them up, and find the last one that was tagged."""

import re
from dataclasses import dataclass

from rivet.modules.contract import Call, CallError, StageContext, WorkspacePath, about

_VERSION = r"v?(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"


@dataclass(frozen=True, order=True)
class Version:
    major: int
    minor: int
    patch: int

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


def read(text: str) -> Version:
    """The version that a text such as `1.2.3` or `v1.2.3` names; the pattern of the field has allowed it."""
    found = re.fullmatch(_VERSION, text, re.ASCII)
    if found is None:
        raise CallError(f"semver: expected a version such as 1.2.3, given {text!r}")
    return Version(*(int(part) for part in found.groups()))


class Compare(Call, module="semver", short=("a", "b")):
    """-1, 0 or 1 as `a` comes before `b`, is the same version, or comes after it."""

    a: str = about("a version such as 1.2.3", pattern=_VERSION)
    b: str = about("another one", pattern=_VERSION)
    example = 'assert(semver.compare("1.9.0", "1.10.0") == -1)'

    def act(self, stage: StageContext) -> int:
        a, b = read(self.a), read(self.b)
        return (a > b) - (a < b)


class Next(Call, module="semver"):
    """The version that follows."""

    version: str = about("the version to count from", pattern=_VERSION)
    part: str = about("major, minor or patch", default="patch", pattern="major|minor|patch")
    example = 'local version = semver.next({ version = "1.2.3", part = "minor" })'

    def act(self, stage: StageContext) -> str:
        now = read(self.version)
        following = {
            "major": Version(now.major + 1, 0, 0),
            "minor": Version(now.major, now.minor + 1, 0),
            "patch": Version(now.major, now.minor, now.patch + 1),
        }
        return str(following[self.part])


class Tagged(Call, module="semver", short=("path",)):
    """The highest version among the tags of a clone in the workspace, or nil."""

    path: WorkspacePath = about("the clone's folder", default=".")
    example = 'local last = semver.tagged("src")'

    def act(self, stage: StageContext) -> str | None:
        said = stage.run_git(self.title(), self.path, ["tag", "--list"]).decode(errors="replace")
        versions = [read(tag) for tag in said.split() if re.fullmatch(_VERSION, tag, re.ASCII)]
        stage.say("debug", f"{len(versions)} of the tags in {self.path} are versions")
        return str(max(versions)) if versions else None
