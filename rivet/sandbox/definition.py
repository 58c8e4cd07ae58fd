"""Checks a pipeline file: evaluates it in a confined child and gives every finding its line and column."""

import re
from collections.abc import Collection, Mapping
from typing import Any

from rivet.domain.definition_rules import read_definition
from rivet.domain.field_rules import UNLIMITED, TimeLimits
from rivet.domain.pipeline import Checked, Finding, Place, digest_of
from rivet.sandbox.lua import CallKind, LuaError, LuaLimits, Zygote, open_script
from rivet.sandbox.places import Places

LOCKED = "may not be used while the pipeline is being defined"
"""How the child refuses a module's call before the file has returned (`modules.lua`)."""

_CODES: Mapping[str, str] = {
    "syntax": "syntax",
    "error": "runtime",
    "memory": "limit-memory",
    "cpu": "limit-cpu",
    "wall": "limit-wall",
    "too_large": "too-large",
}
_AT_THE_NAME = frozenset({"unknown-field", "not-supported", "reserved-name", "wrong-name"})
_NEAR = re.compile(r" near (?:'(.*)'|<eof>)$", re.DOTALL)

LANGUAGE: Mapping[str, tuple[str, ...]] = {
    "artifacts": ("upload", "download"),
    "base64": ("encode", "decode"),
    "cache": ("restore", "save"),
    "container": ("with", "run", "build", "push"),
    "env": ("get", "require", "has", "all"),
    "fs": ("read", "write", "append", "exists", "list", "glob", "mkdir", "remove", "copy", "move", "stat"),
    "git": ("clone", "checkout", "rev_parse", "changed_files", "describe", "log"),
    "hash": ("sha256", "files"),
    "http": ("request", "get", "post", "put", "delete"),
    "input": ("get", "require", "has", "all"),
    "json": ("encode", "decode", "array"),
    "log": ("debug", "info", "warn", "error", "group", "annotate"),
    "matrix": (),
    "notify": ("send",),
    "output": ("set", "get", "require", "has", "all", "list"),
    "process": ("run", "start", "which"),
    "report": ("junit", "coverage"),
    "run": ("changed_files", "summary"),
    "secrets": ("get",),
    "time": ("now", "iso", "sleep"),
}
"""What the language's modules are called, so that using one too early is refused by name."""


def check(
    zygote: Zygote,
    source: str,
    filename: str = "rivet.lua",
    *,
    inputs: Mapping[str, Any] | None = None,
    run: Mapping[str, Any] | None = None,
    limits: LuaLimits | None = None,
    times: TimeLimits = UNLIMITED,
    plugins: Collection[str] = (),
) -> Checked:
    """Evaluate a file and check what it defines.

    `times` are the operator's maxima of `timeout`, `plugins` the modules that plug-ins bring along.
    With `inputs` (checked ones), and the facts of `run`, it is resolved as at a run's start: `stages` given
    as a function is called. Whatever is wrong with the file is in `places`, never raised. Raises NoChild.
    """
    calls: dict[str, dict[str, CallKind]] = {
        module: dict.fromkeys(functions, "call") for module, functions in LANGUAGE.items()
    }
    # What functions they have is not known here: an empty module with values refuses whatever is read of it.
    calls |= {name: {} for name in plugins}
    values: dict[str, Mapping[str, Any]] = {name: {} for name in plugins}
    resolve = inputs is not None
    script = open_script(
        zygote,
        source,
        filename,
        limits or LuaLimits(),
        modules=calls,
        values=values | {"input": inputs or {}, "run": run or {}} if resolve else values,
        resolve=resolve,
    )
    if isinstance(script, LuaError):
        return Checked(None, None, [_place_of_error(script, source)], "")
    with script:
        table = script.table
    definition, findings = read_definition(table, resolved=resolve, times=times)
    places = Places(_raw(source)) if findings else None
    told = [_place_of(finding, places) for finding in findings] if places is not None else []
    told.sort(key=lambda place: (place.line, place.column))
    return Checked(table, definition, told, digest_of(table) if table is not None else "")


def _place_of(finding: Finding, places: Places) -> Place:
    line, column = (1, 1)
    if finding.code != "no-pipeline":
        line, column = places.of(finding.path, name=finding.code in _AT_THE_NAME)
    return Place(line, column, finding.code, finding.message, finding.severity)


def _place_of_error(error: LuaError, source: str) -> Place:
    code = _CODES.get(error.kind, "crash")
    if code == "runtime" and LOCKED in error.message:
        code = "module-while-defining"
    line, column = 1, 1
    if error.line is not None:
        places = Places(_raw(source))
        line = min(error.line, places.last_line())
        near = _NEAR.search(error.message) if code == "syntax" else None
        line, column = places.of_error(line, near[1]) if near is not None else places.of_line(line)
    return Place(line, column, code, error.message)


def _raw(source: str) -> bytes:
    return source.encode("utf-8", "surrogateescape")
