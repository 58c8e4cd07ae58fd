"""Ask a system what a run told about itself: by the API, and in the rows of its database."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import zstandard

from ..system.rivet_home import RivetHome
from .outcome import Line, Told
from .pipeline import prelude_lines

_TIMES = frozenset({"limit_stage_time", "limit_run_time", "limit_cpu"})
_REFUSALS = re.compile(
    r"RIVET_ALLOW_|permissions = \{|may not be reached|may not be used|may not use|is not allowed"
    r"|is not among the `secrets`|leads? out of the workspace|may be reached here"
)
_NIL = re.compile(r"attempt to (index|call) a nil value|module \w+ has no function|no integer representation of nil")
_GLOBAL = re.compile(r"attempt to (?:index|call) a nil value \(global '(\w+)'\)")
_OF_LUA = frozenset({
    "_G", "assert", "coroutine", "error", "getmetatable", "ipairs", "load", "math", "next", "pairs", "pcall", "print",
    "rawequal", "rawget", "rawlen", "rawset", "select", "setmetatable", "string", "table", "tonumber", "tostring",
    "type", "utf8", "xpcall",
})  # fmt: skip
"""What every script has: a case that misses one of these has taken it away itself."""
_OF_A_MODULE = re.compile(r"^(in loaded code, line \d+: )?(h:\w+|[a-z]\w*\.\w+): ")


def told_by(home: RivetHome, run: Mapping[str, Any]) -> Told:
    """Everything that an ended run told, by the API and in the rows of the database."""
    lines, texts = [], bytearray()
    for raw in home.client.lines(f"/runs/{run['id']}/logs?format=ndjson"):
        if raw.strip():
            said = json.loads(raw)
            lines.append(Line(said["stream"], said["text"]))
    for text in home.client.lines(f"/runs/{run['id']}/logs"):
        texts += (text if isinstance(text, bytes) else text.encode()) + b"\n"
    rows = home.query("SELECT type, stage, data::text, body FROM record WHERE run_id = %s", run["id"])
    stored = [json.dumps(run, ensure_ascii=False).encode()]
    for kind, stage, data, body in rows:
        stored.append(f"{kind} {stage} {data}".encode())
        if kind == "log":
            texts += zstandard.ZstdDecompressor().decompressobj().decompress(bytes(body))
    for sql in (
        "SELECT row_to_json(s)::text FROM stage s WHERE run_id = %s",
        "SELECT row_to_json(a)::text FROM attempt a JOIN stage s ON s.id = a.stage_id WHERE s.run_id = %s",
        "SELECT row_to_json(o)::text FROM output o WHERE run_id = %s",
        "SELECT row_to_json(a)::text FROM artifact a WHERE run_id = %s",
    ):
        stored += [str(row[0]).encode() for row in home.query(sql, run["id"])]
    attempt = _last_attempt(run)
    error = _error_of(rows)
    outcome, message = _outcome(run, attempt, error)
    return Told(
        outcome,
        message,
        _milliseconds(attempt),
        lines,
        stored,
        bytes(texts),
        _invalid(error) if outcome == "error" else "",
    )


def _last_attempt(run: Mapping[str, Any]) -> Mapping[str, Any]:
    attempts = [attempt for stage in run["stages"] for attempt in stage["attempts"]]
    return attempts[-1] if attempts else {}


def _error_of(rows: list[tuple[Any, ...]]) -> Mapping[str, Any]:
    """The error of the attempt that ended last, with its message, file and line."""
    errors = [json.loads(data).get("error") for kind, _, data, _ in rows if kind == "attempt_ended"]
    return errors[-1] or {} if errors else {}


def _outcome(
    run: Mapping[str, Any], attempt: Mapping[str, Any], error: Mapping[str, Any]
) -> tuple[str, str]:
    """By the states and reasons of Rivet; of its refusals there are no kinds yet, so these go by their words."""
    status, reason = run["status"], attempt.get("reason") or run["reason"]
    message = str(error.get("message") or reason or "")
    if status == "passed":
        return "safe", message
    if status == "timed_out" or reason in _TIMES:
        return "timeout", message
    if status != "failed":
        return "crash", f"{status}, {reason}: {message}"
    if reason == "limit_memory":
        return "memory", message
    if _OF_A_MODULE.search(message) and _REFUSALS.search(message):
        return "denied", message
    return "error", message


def _invalid(error: Mapping[str, Any]) -> str:
    """Why an error shows nothing of Rivet: it is the prelude's, or the case met what is not there."""
    message, line = str(error.get("message") or ""), error.get("line")
    named = _GLOBAL.search(message)
    if _NIL.search(message) and not (named and named[1] in _OF_LUA):
        return f"it met nothing where the case expects something: {message}"
    if isinstance(line, int) and line <= prelude_lines() and not _OF_A_MODULE.search(message):
        return f"the prelude failed: {message}"
    return ""


def _milliseconds(attempt: Mapping[str, Any]) -> float:
    if not attempt.get("started_at") or not attempt.get("ended_at"):
        return 0.0
    begun, ended = (datetime.fromisoformat(attempt[at].replace("Z", "+00:00")) for at in ("started_at", "ended_at"))
    return (ended - begun).total_seconds() * 1000
