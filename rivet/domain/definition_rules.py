"""What makes an evaluated table a valid definition: every field and type of the language, and what of it
this version can do. Findings have stable codes; `rivet.sandbox.definition` gives them lines."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from rivet.domain import secret
from rivet.domain.duration import read_duration, read_size
from rivet.domain.field_rules import UNLIMITED, Fields, TimeLimits
from rivet.domain.input_rules import read_inputs
from rivet.domain.isolation import BUILT, LEVELS
from rivet.domain.limits import BOUNDS, told
from rivet.domain.order import Grants
from rivet.domain.pipeline import (
    DEFAULT_QUEUE,
    DEFAULT_RUN_TIMEOUT_S,
    Definition,
    Finding,
    Function,
    slug_of,
)
from rivet.domain.stage_graph import check_graph
from rivet.domain.stage_rules import Taken, read_concurrency, read_queue, read_stages
from rivet.domain.states import OnLost
from rivet.domain.wording import shown

ISOLATIONS_TO_COME = LEVELS[LEVELS.index(BUILT[-1]) + 1 :]
"""Above what any runner of this version has."""

PIPELINE_FIELDS = (
    "name", "slug", "description", "inputs", "env", "secrets", "queue", "permissions", "limits", "isolation",
    "timeout", "on_lost", "concurrency", "triggers", "stages", "finally",
)  # fmt: skip
PIPELINE_FIELDS_TO_COME = ("triggers",)
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_HOST = r"(\*\.)?[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\]"
_HOST_MAYBE_PORT = re.compile(rf"({_HOST})(:[0-9]{{1,5}})?")
_HOST_PORT = re.compile(rf"({_HOST}):[0-9]{{1,5}}")


def read_definition(
    table: Any, *, resolved: bool, times: TimeLimits = UNLIMITED
) -> tuple[Definition | None, list[Finding]]:
    """The definition in an evaluated table, or None and the findings that say why.

    `resolved`: a function at `stages` has been called, so that there must be a list now. `times` are the
    operator's maxima of `timeout`.
    """
    findings: list[Finding] = []
    if not isinstance(table, Mapping):
        findings.append(_no_pipeline(table))
        return None, findings
    fields = Fields(table, (), "the pipeline", findings, times)
    fields.refuse_unknown(PIPELINE_FIELDS)
    fields.refuse_unsupported(PIPELINE_FIELDS_TO_COME)
    name, slug = _identity(fields)
    taken: Taken = {}
    from_function = isinstance(table.get("stages"), Function) and not resolved
    stages = () if from_function else read_stages(fields, "stages", taken)
    last = read_stages(fields, "finally", taken) if table.get("finally") is not None else ()
    if not findings:
        check_graph(stages, findings)
    definition = Definition(
        name=name,
        slug=slug,
        description=fields.text("description", most=10_000, least=0) or "",
        inputs=read_inputs(fields),
        env=fields.env(),
        queue=read_queue(fields) or DEFAULT_QUEUE,
        grants=_grants(fields),
        limits=_limits(fields),
        isolation=_isolation(fields),
        timeout_s=fields.duration("timeout", DEFAULT_RUN_TIMEOUT_S, times.run),
        on_lost=OnLost(fields.choice("on_lost", [each.value for each in OnLost]) or OnLost.ERROR),
        stages=stages,
        stages_from_function=from_function,
        secrets=_secrets(fields),
        last=last,
        concurrency=read_concurrency(fields, resolved=resolved),
    )
    if any(finding.severity == "error" for finding in findings):
        return None, findings
    return definition, findings


def _no_pipeline(table: Any) -> Finding:
    message = "the file defines no pipeline: assign a table to the global `pipeline`, or return it"
    if table is None:
        return Finding((), "no-pipeline", message)
    if isinstance(table, list):
        given = "a list" if len(table) != 1 else "a list of one; are there braces too many?"
        return Finding((), "wrong-type", f"the pipeline: expected a table with named fields, given {given}")
    given = shown(table)
    return Finding((), "wrong-type", f"the pipeline: expected a table with named fields, given {given}")


def _identity(fields: Fields) -> tuple[str, str]:
    name = fields.text("name", most=100, required=True)
    slug = fields.text("slug", most=100)
    if slug is not None and not _SLUG.fullmatch(slug):
        fields.expect("slug", "lower-case letters and digits, with single dashes between", code="wrong-name")
    elif slug is None and name is not None:
        slug = slug_of(name)
        if not slug:
            message = f'the pipeline: no letter of its name {shown(name)} gives an identity: add a "slug"'
            fields.wrong("missing-field", message, "name")
    return name or "", slug or ""


def _grants(fields: Fields) -> Grants:
    inner = fields.within("permissions", "permissions")
    if inner is None:
        return Grants()
    inner.refuse_unknown(("network", "hosts", "containers"))
    inner.refuse_unsupported(("containers",))
    network = inner.table.get("network")
    listed: tuple[str, ...] = ()
    if network is not None and not isinstance(network, bool):
        if isinstance(network, list) or network == {}:
            listed = inner.texts("network", 'a "host:port"', lambda text: bool(_HOST_PORT.fullmatch(text)))
        else:
            inner.expect("network", 'true, false, or a list of "host:port"')
    hosts = inner.texts("hosts", "a host name", lambda text: bool(_HOST_MAYBE_PORT.fullmatch(text)))
    return Grants(network is True, listed, hosts)


def _secrets(fields: Fields) -> tuple[str, ...] | None:
    if fields.table.get("secrets") is None:
        return None
    return fields.texts(
        "secrets", f"a secret's name ({secret.NAME_IN_WORDS})", lambda name: bool(secret.NAME.fullmatch(name))
    )


def _isolation(fields: Fields) -> str | None:
    """The least level to accept. No runner of this version has one above `namespaces`."""
    level = fields.choice("isolation", LEVELS[::-1])
    if level in ISOLATIONS_TO_COME:
        message = f'the pipeline: isolation: no runner of this version of Rivet has "{level}" yet'
        fields.wrong("not-supported", message, "isolation")
    return level


def _limits(fields: Fields) -> dict[str, Any]:
    inner = fields.within("limits", "limits")
    if inner is None:
        return {}
    inner.refuse_unknown(tuple(BOUNDS))
    limits: dict[str, Any] = {}
    for name, bound in BOUNDS.items():
        value = inner.table.get(name)
        if value is None:
            continue
        read, expected = _READ_AS[bound.kind]
        amount = read(value)
        if amount is None:
            inner.expect(name, expected)
        elif not bound.least <= amount <= bound.most:
            inner.expect(name, f"{told(name, bound.least)} to {told(name, bound.most)}", code="out-of-range")
        else:
            limits[name] = amount
    return limits


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_READ_AS: Mapping[str, tuple[Callable[[Any], float | None], str]] = {
    "size": (read_size, 'a size such as "64MiB" or a number of bytes'),
    "count": (_whole, "a whole number"),
    "seconds": (read_duration, 'a duration such as 10, "10s" or "2m"'),
}
