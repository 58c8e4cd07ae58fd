"""How one field of an evaluated table is read: its value, or a finding that says what was expected."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rivet.domain.duration import read_duration
from rivet.domain.ids import Path
from rivet.domain.pipeline import Finding
from rivet.domain.wording import did_you_mean, lua_number, shown

MAX_DURATION_S = 30 * 24 * 3600.0
MAX_ENV_TEXT = 128 * 1024
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@dataclass(frozen=True, slots=True)
class Most:
    """The operator's maximum of a duration in seconds, and the setting that it comes from."""

    seconds: float
    setting: str


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long a stage and a run may take at most; None: whatever the language allows."""

    stage: Most | None = None
    run: Most | None = None


UNLIMITED = TimeLimits()


class Fields:
    """The fields of one table, read one by one; what is wrong is added to `findings`.

    `what` names the table in messages, such as `stage "build"`; `times` are the operator's maxima.
    """

    def __init__(
        self,
        table: Mapping[Any, Any],
        path: Path,
        what: str,
        findings: list[Finding],
        times: TimeLimits = UNLIMITED,
    ) -> None:
        self.times = times
        self.table = table
        self.path = path
        self.what = what
        self.findings = findings

    def wrong(self, code: str, message: str, *keys: str | int) -> None:
        """Add an error at a field of this table, or at the table itself."""
        self.findings.append(Finding((*self.path, *keys), code, message))

    def expect(self, name: str, expected: str, *, code: str = "wrong-type") -> None:
        """Add an error that says what a field should have been."""
        given = shown(self.table.get(name))
        self.wrong(code, f"{self.what}: {name}: expected {expected}, given {given}", name)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        for key in self.table:
            if isinstance(key, str) and key in known:
                continue
            if not isinstance(key, str):
                here = f"[{key}]" if isinstance(key, int) else shown(key)
                self.wrong("unknown-field", f"{self.what} has a value without a name, at {here}", *_step(key))
            else:
                hint = did_you_mean(key, known)
                self.wrong("unknown-field", f'{self.what} has no field "{key}"{hint}', key)

    def refuse_unsupported(self, names: Sequence[str]) -> None:
        for name in names:
            if name in self.table:
                self.wrong(
                    "not-supported", f"{self.what}: {name}: this version of Rivet cannot do this yet", name
                )

    def text(self, name: str, *, most: int, required: bool = False, least: int = 1) -> str | None:
        """A text of one line (or several, where more than 1000 characters are allowed)."""
        value = self.table.get(name)
        if value is None:
            if required:
                self.wrong("missing-field", f'{self.what} has no "{name}": it needs one, a text')
            return None
        if not isinstance(value, str):
            self.expect(name, "a text of valid UTF-8" if isinstance(value, bytes) else "a text")
            return None
        if not least <= len(value) <= most:
            self.expect(name, f"a text of {least} to {most} characters", code="out-of-range")
            return None
        if "\0" in value or (most <= 1000 and not value.isprintable()):
            self.expect(name, "a text without control characters", code="out-of-range")
            return None
        return value

    def choice(self, name: str, allowed: Sequence[str]) -> str | None:
        value = self.table.get(name)
        if value is None or value in allowed:
            return value
        hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
        self.expect(name, f"one of {', '.join(shown(each) for each in allowed)}")
        if hint.startswith("; did"):
            last = self.findings.pop()
            self.findings.append(Finding(last.path, last.code, last.message + hint))
        return None

    def truth(self, name: str) -> bool | None:
        value = self.table.get(name)
        if value is None or isinstance(value, bool):
            return value
        self.expect(name, "true or false")
        return None

    def duration(self, name: str, default: float, most: Most | None = None) -> float:
        """Seconds. Over the operator's `most` it is a finding, and a default is lowered to that."""
        value = self.table.get(name)
        if most is not None:
            default = min(default, most.seconds)
        if value is None:
            return default
        seconds = read_duration(value)
        if seconds is None:
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            self.expect(
                name,
                'a duration over 0 such as 90, "90s", "30m" or "2h"',
                code="out-of-range" if is_number else "wrong-type",
            )
            return default
        if seconds > MAX_DURATION_S:
            self.expect(name, f"at most {MAX_DURATION_S / 3600:g} h", code="out-of-range")
            return default
        if most is not None and seconds > most.seconds:
            self.wrong(
                "over-limit",
                f"{self.what}: {name}: expected at most {most.seconds:g} s, given {shown(value)}; "
                f"the server's operator sets the maximum ({most.setting}={most.seconds:g})",
                name,
            )
            return default
        return seconds

    def items(self, name: str, expected: str) -> list[Any]:
        """A list; empty where it is absent or wrong."""
        value = self.table.get(name)
        if value is None or value == {}:
            return []
        if not isinstance(value, list):
            self.expect(name, expected)
            return []
        return value

    def texts(self, name: str, expected: str, fits: Callable[[str], bool]) -> tuple[str, ...]:
        """A list of texts, each of which `fits`."""
        found = []
        for at, item in enumerate(self.items(name, f"a list of {expected}s"), start=1):
            if isinstance(item, str) and fits(item):
                found.append(item)
            else:
                message = f"{self.what}: {name}[{at}]: expected {expected}, given {shown(item)}"
                self.wrong("wrong-type", message, name, at)
        return tuple(found)

    def within(self, name: str, what: str) -> "Fields | None":
        """The fields of a table in this one."""
        value = self.table.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            self.expect(name, "a table with named fields")
            return None
        return Fields(value, (*self.path, name), what, self.findings, self.times)

    def env(self) -> dict[str, str]:
        """The field `env`: variables for processes, numbers as Lua writes them."""
        inner = self.within("env", f"{self.what}: env")
        variables: dict[str, str] = {}
        if inner is None:
            return variables
        for name, value in inner.table.items():
            if not isinstance(name, str) or not _ENV_NAME.fullmatch(name):
                inner.wrong(
                    "wrong-name",
                    f"{inner.what}: expected names of letters, digits and _, given {shown(name)}",
                    *_step(name),
                )
            elif name == "PATH":
                inner.wrong(
                    "reserved-name",
                    f"{inner.what}: PATH cannot be set; to put folders before it, set PATH_PREPEND",
                    name,
                )
            elif name.startswith(("LD_", "RIVET_")):
                inner.wrong("reserved-name", f"{inner.what}: {name} cannot be set: the name is Rivet's", name)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                variables[name] = lua_number(value)
            elif not isinstance(value, str):
                hint = f'; write "{shown(value)}"' if isinstance(value, bool) else ""
                message = f"{inner.what}: {name}: expected a text or a number, given {shown(value)}{hint}"
                inner.wrong("wrong-type", message, name)
            elif "\0" in value or len(value) > MAX_ENV_TEXT:
                message = (
                    f"{inner.what}: {name}: expected at most {MAX_ENV_TEXT} characters without a zero byte"
                )
                inner.wrong("out-of-range", message, name)
            else:
                variables[name] = value
        return variables



def _step(key: Any) -> tuple[str | int, ...]:
    return (key,) if isinstance(key, str | int) and not isinstance(key, bool) else ()
