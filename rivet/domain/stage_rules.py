"""What makes a stage of a definition valid, field by field; `definition_rules` has the pipeline's own."""

from collections.abc import Mapping
from typing import Any

from rivet.domain.field_rules import Fields
from rivet.domain.ids import StageKey
from rivet.domain.input_rules import read_inputs
from rivet.domain.kept_rules import read_kept
from rivet.domain.matrix_rules import read_matrix
from rivet.domain.pipeline import (
    DEFAULT_STAGE_TIMEOUT_S,
    Approval,
    Concurrency,
    Finding,
    Function,
    StageDefinition,
    slug_of,
)
from rivet.domain.retry import MAX_RETRY_DELAY_S, ONCE, Retry
from rivet.domain.runner import QUEUE_NAME
from rivet.domain.wording import did_you_mean, shown

MAX_STAGES = 500
MAX_ATTEMPTS = 20
RETRIED = ("failed", "timed_out", "lost")

STAGE_FIELDS = (
    "name", "script", "when", "needs", "parallel", "matrix", "exclude", "fail_fast", "max_parallel", "keep",
    "queue", "env", "timeout", "limits", "retry", "allow_failure", "container", "services", "approval",
    "cache", "artifacts",
)  # fmt: skip
STAGE_FIELDS_TO_COME = ("limits", "container", "services")
_OF_GROUPS = ("fail_fast", "max_parallel")
_NOT_IN_MEMBERS = ("parallel", "approval", "needs", "matrix")
_NOT_IN_FINALLY = ("parallel", "approval", "needs", "matrix", "queue")

Taken = dict[str, tuple[str, str]]
"""The stages that were read, by key: how messages call each, and its name."""


def read_stages(fields: Fields, name: str, taken: Taken) -> tuple[StageDefinition, ...]:
    """A list of stages: `stages`, `finally`, or a stage's `parallel`."""
    given = fields.table.get(name)
    if given is None:
        fields.wrong("no-stages", f'{fields.what} has no "{name}": it needs a list of at least one')
        return ()
    if given in ({}, []):
        fields.wrong("empty-stages", f"{fields.what}: {name}: expected at least one stage, given none", name)
        return ()
    if isinstance(given, Mapping) and "name" in given:
        expected = "expected a list of stages, given one: put it into braces of its own"
        fields.wrong("wrong-type", f"{fields.what}: {name}: {expected}", name)
        return ()
    if not isinstance(given, list):
        gaps = isinstance(given, Mapping) and all(isinstance(key, int) for key in given)
        expected = "a list without gaps (is one of them nil?)" if gaps else "a list of stages"
        also = ", or a function that gives one" if name == "stages" else ""
        fields.expect(name, expected + also)
        return ()
    if len(given) > MAX_STAGES:
        message = f"{fields.what}: {name}: expected at most {MAX_STAGES}, given {len(given)}"
        fields.wrong("out-of-range", message, name)
        return ()
    path = (*fields.path, name)
    stages = [_stage(table, (*path, index), fields, taken) for index, table in enumerate(given, 1)]
    return tuple(stage for stage in stages if stage is not None)


def read_queue(fields: Fields) -> str | None:
    queue = fields.text("queue", most=63)
    if queue is not None and not QUEUE_NAME.fullmatch(queue):
        fields.expect("queue", "letters, digits, and . _ - behind the first", code="wrong-name")
    return queue


def read_concurrency(pipeline: Fields, *, resolved: bool) -> Concurrency | None:
    """`resolved`: a function at `group` has been called, so that there must be a text now."""
    fields = pipeline.within("concurrency", "concurrency")
    if fields is None:
        return None
    fields.refuse_unknown(("group", "limit", "cancel_running"))
    group = fields.table.get("group")
    if isinstance(group, Function) and not resolved:
        group = None
    elif fields.text("group", most=200, required=True) is None:
        return None
    limit = _whole(fields, "limit", 1, 1000) or 1
    return Concurrency(group, limit, fields.truth("cancel_running") or False)


def _stage(table: Any, path: tuple[str | int, ...], parent: Fields, taken: Taken) -> StageDefinition | None:
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if not isinstance(table, Mapping):
        expected = 'a table such as { name = "test", script = function() ... end }'
        message = f"{place}: expected {expected}, given {shown(table)}"
        parent.findings.append(Finding(path, "wrong-type", message))
        return None
    given = table.get("name")
    what = f"stage {shown(given)}" if isinstance(given, str) and given else place
    fields = Fields(table, path, what, parent.findings, parent.times)
    fields.refuse_unknown(STAGE_FIELDS)
    fields.refuse_unsupported(STAGE_FIELDS_TO_COME)
    _refuse_where_it_stands(fields, path)
    name = fields.text("name", most=100, required=True)
    key = StageKey(slug_of(name or "") or f"stage-{path[-1]}")
    if name is not None:
        _take(key, name, place, fields, taken)
    matrix = read_matrix(fields)
    members = read_stages(fields, "parallel", taken) if table.get("parallel") is not None else ()
    read_kept(fields)
    _check_work(fields)
    for each in _OF_GROUPS:
        if each in table and not {"parallel", "matrix"} & table.keys():
            fields.wrong("misplaced-field", f'{what}: {each}: goes with "parallel" or "matrix" alone', each)
    stage = StageDefinition(
        key=key,
        name=name or "",
        path=path,
        env=fields.env(),
        timeout_s=fields.duration("timeout", DEFAULT_STAGE_TIMEOUT_S, fields.times.stage),
        has_script=table.get("script") is not None,
        has_when=_has_function(fields, "when"),
        needs=_needs(fields),
        members=members,
        matrix=matrix,
        fail_fast=fields.truth("fail_fast") or False,
        max_parallel=_whole(fields, "max_parallel", 1, 256),
        keep=fields.texts("keep", "a glob of files in the workspace", _is_glob),
        queue=read_queue(fields),
        retry=_retry(fields),
        allow_failure=_allow_failure(fields),
        approval=_approval(fields),
    )
    return stage if name is not None else None


def _refuse_where_it_stands(fields: Fields, path: tuple[str | int, ...]) -> None:
    refused: tuple[str, ...] = ()
    where = ""
    if path[0] == "finally":
        refused, where = _NOT_IN_FINALLY, "a stage of finally"
    elif len(path) > 2:
        refused, where = _NOT_IN_MEMBERS, "a member of parallel"
    for name in refused:
        if name in fields.table:
            fields.wrong("misplaced-field", f'{fields.what}: {name}: {where} cannot have "{name}"', name)


def _take(key: StageKey, name: str, place: str, fields: Fields, taken: Taken) -> None:
    first_place, first = taken.setdefault(key, (place, name))
    if first_place != place:
        fields.wrong(
            "duplicate-name",
            f"{place} {shown(name)} and {first_place} {shown(first)} are both "
            f'"{key}" when written in lower case with dashes: give one another name',
            "name",
        )


def _check_work(fields: Fields) -> None:
    """Exactly one of `script` and `parallel`; an approval may have neither."""
    script, what = fields.table.get("script"), fields.what
    if script is not None and not isinstance(script, Function):
        fields.expect("script", "a function")
    if script is None and not {"parallel", "approval"} & fields.table.keys():
        fields.wrong("missing-field", f'{what} has no "script": it needs one, a function that does its work')
    if "parallel" in fields.table:
        for other in ("script", "matrix", "approval", "retry", "allow_failure", "keep", "when"):
            if other in fields.table:
                message = f'{what}: {other}: a stage with "parallel" cannot have it; its members can'
                message = message.replace("; its members can", "") if other in _NOT_IN_MEMBERS else message
                fields.wrong("misplaced-field", message, other)
    if "approval" in fields.table and "matrix" in fields.table:
        fields.wrong("misplaced-field", f'{what}: matrix: a stage with "approval" cannot have it', "matrix")


def _has_function(fields: Fields, name: str) -> bool:
    value = fields.table.get(name)
    if value is not None and not isinstance(value, Function):
        fields.expect(name, "a function that gives true or false")
    return isinstance(value, Function)


def _needs(fields: Fields) -> tuple[StageKey, ...] | None:
    if fields.table.get("needs") is None:
        return None
    named = fields.texts("needs", "a stage's name", lambda text: bool(text) and len(text) <= 100)
    return tuple(dict.fromkeys(StageKey(slug_of(name) or name) for name in named))


def _is_glob(text: str) -> bool:
    leads_out = text.startswith("/") or ".." in text.split("/")
    return 0 < len(text) <= 1000 and text.isprintable() and not leads_out


def _whole(fields: Fields, name: str, least: int, most: int) -> int | None:
    value = fields.table.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        fields.expect(name, "a whole number")
        return None
    if not least <= value <= most:
        fields.expect(name, f"{least} to {most}", code="out-of-range")
        return None
    return value


def _retry(fields: Fields) -> Retry:
    value = fields.table.get("retry")
    if value is None:
        return ONCE
    if not isinstance(value, Mapping):
        return Retry(_whole(fields, "retry", 1, MAX_ATTEMPTS) or 1)
    inner = Fields(value, (*fields.path, "retry"), f"{fields.what}: retry", fields.findings)
    inner.refuse_unknown(("attempts", "delay", "backoff", "on"))
    attempts = _whole(inner, "attempts", 1, MAX_ATTEMPTS)
    if attempts is None and "attempts" not in value:
        inner.wrong("missing-field", f'{inner.what} has no "attempts": it needs one, a whole number')
    delay_s = inner.duration("delay", 0.0) if value.get("delay") != 0 else 0.0
    if delay_s > MAX_RETRY_DELAY_S:
        inner.expect("delay", f"at most {MAX_RETRY_DELAY_S:g} s", code="out-of-range")
    backoff = value.get("backoff", 1)
    if isinstance(backoff, bool) or not isinstance(backoff, int | float) or not 1 <= backoff <= 10:
        inner.expect("backoff", "a number from 1 to 10, by which each delay is longer than the one before")
        backoff = 1
    on = inner.texts("on", f"one of {', '.join(RETRIED)}", lambda text: text in RETRIED) or ("failed",)
    return Retry(attempts or 1, delay_s, float(backoff), on)


def _allow_failure(fields: Fields) -> bool | tuple[int, ...]:
    value = fields.table.get("allow_failure")
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, list) or not all(
        isinstance(code, int) and not isinstance(code, bool) and 1 <= code <= 255 for code in value
    ):
        fields.expect("allow_failure", "true, false, or a list of exit codes from 1 to 255")
        return False
    return tuple(value)


def _approval(stage: Fields) -> Approval | None:
    fields = stage.within("approval", f"{stage.what}: approval")
    if fields is None:
        return None
    fields.refuse_unknown(("message", "approvers", "timeout", "inputs"))
    timeout = fields.duration("timeout", 0.0)
    return Approval(
        message=fields.text("message", most=2000, least=0) or "",
        approvers=fields.texts("approvers", "a name of a user", lambda text: 0 < len(text) <= 200),
        timeout_s=timeout or None,
        inputs=read_inputs(fields),
    )


def unknown_need(stage: StageDefinition, need: str, known: list[str]) -> Finding:
    """The finding of a `needs` that names nothing."""
    hint = did_you_mean(need, known)
    message = f'stage {shown(stage.name)}: needs: there is no stage "{need}"{hint}'
    return Finding((*stage.path, "needs"), "unknown-stage", message)
