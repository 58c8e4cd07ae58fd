"""Modules that other Python packages bring along, by entry points of the group `rivet.modules`.

    [options.entry_points]
    rivet.modules =
        weather = rivet_weather

The entry point's name is the module's name in scripts; what it leads to is a Python module with declarations
like ours. Only what the operator allows is ever imported. Whatever is wrong with a plug-in is a `Fault`, and
that plug-in is left out; nothing here raises because of one.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from rivet.modules.contract import Call
from rivet.modules.declared import KEYWORDS, faults_of
from rivet.modules.registry import FUNCTIONS, Functions, declared_in
from rivet.sandbox.definition import LANGUAGE

GROUP = "rivet.modules"
ALL, NONE = "all", "none"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TAKEN = KEYWORDS | {
    "assert", "coroutine", "debug", "error", "getmetatable", "io", "ipairs", "load", "math", "next", "os",
    "package", "pairs", "pcall", "pipeline", "print", "rawequal", "rawget", "rawlen", "rawset", "require",
    "select", "setmetatable", "string", "table", "tonumber", "tostring", "type", "utf8", "warn", "xpcall",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plugin:
    """One that can be used; `package` is the distribution with its version."""

    name: str
    package: str
    calls: Mapping[str, type[Call]]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a plug-in cannot be used, and what mends it."""

    name: str
    package: str
    why: str
    mend: str

    def told(self) -> str:
        return f"plug-in {self.name} of {self.package}: {self.why}"


@dataclass(frozen=True, slots=True)
class Found:
    plugins: tuple[Plugin, ...]
    faults: tuple[Fault, ...]
    left_out: tuple[str, ...]
    """Installed, and not allowed."""

    @property
    def functions(self) -> Functions:
        return {plugin.name: plugin.calls for plugin in self.plugins}


def plugin_names(allowed: Collection[str]) -> tuple[str, ...]:
    """What the installed plug-ins that may be used are called. Imports none of them."""
    names = sorted({entry.name for entry in entry_points(group=GROUP)})
    return tuple(name for name in names if _is_allowed(name, allowed) and not _unfit(name))


def find_plugins(allowed: Collection[str]) -> Found:
    """Import and look at those that are installed and `allowed`: their names, `all` or `none`."""
    installed: dict[str, list[EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        installed.setdefault(entry.name, []).append(entry)
    found: list[Plugin] = []
    faults = list(_missing(installed, allowed))
    for name in sorted(name for name in installed if _is_allowed(name, allowed)):
        looked_at = _look_at(name, installed[name])
        if isinstance(looked_at, Plugin):
            found.append(looked_at)
        else:
            faults.append(looked_at)
    left_out = sorted(name for name in installed if not _is_allowed(name, allowed))
    return Found(tuple(found), tuple(faults), tuple(left_out))


def _is_allowed(name: str, allowed: Collection[str]) -> bool:
    return ALL in allowed or name in allowed


def _missing(installed: Collection[str], allowed: Collection[str]) -> Iterator[Fault]:
    for name in sorted({*allowed} - {ALL, NONE, *installed}):
        mend = "Install its package beside Rivet, or take its name out of RIVET_PLUGINS"
        yield Fault(name, "no package", "RIVET_PLUGINS allows it, and it is not installed", mend)


def _look_at(name: str, entries: list[EntryPoint]) -> Plugin | Fault:
    """The plug-in of that name, imported."""
    package = " and ".join(sorted({_package(entry) for entry in entries}))
    if unfit := _unfit(name):
        return Fault(name, package, unfit, "Its author has to give its entry point another name")
    if len(entries) > 1:
        twice = "more than one package brings a module of that name"
        return Fault(name, package, twice, "Uninstall all but one")
    ask = f"Mend it, uninstall {package.split()[0]}, or leave {name} out of RIVET_PLUGINS"
    try:
        file = entries[0].load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's code: whatever it raises
        return Fault(name, package, f"it cannot be imported: {type(error).__name__}: {error}", ask)
    if not isinstance(file, ModuleType):
        leads_to = f"its entry point leads to a {type(file).__name__}, and not to a Python module"
        return Fault(name, package, leads_to, ask)
    calls = list(declared_in(file))
    wrong = faults_of(name, calls)
    if wrong:
        return Fault(name, package, "; ".join(wrong), ask)
    return Plugin(name, package, {call.function: call for call in calls})


def _unfit(name: str) -> str:
    """What is wrong with a module's name, or nothing."""
    if not _NAME.fullmatch(name):
        return "a module's name has lower-case letters, digits and _ behind a letter"
    if name in FUNCTIONS or name in LANGUAGE:
        return f"Rivet has a module {name} of its own"
    return f"{name} is a word of Lua's or of Rivet's" if name in _TAKEN else ""


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unnamed package"
