"""The OpenAPI document: what APIFlask reads from the routes, completed by what holds for all of them.

Which problems an operation answers with follows from its form (a body, a path, a token) and from what its
route says (`operation`); each status has a schema of its own that lists its codes.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from apiflask import APIFlask

from rivet.api.operation import Said, said_of
from rivet.api.problem_text import MEDIA_TYPE
from rivet.api.problems import STATUSES
from rivet.domain.errors import RivetError

Table = dict[str, Any]

SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of a person or a program."},
    "runner": {"type": "http", "scheme": "bearer", "description": "A runner's token: it names its queues."},
    "ticket": {"type": "http", "scheme": "bearer", "description": "A job's ticket, from its claim."},
}
TAGS = {
    "Pipelines": "Stored pipelines and their versions.",
    "Runs": "Start, follow, cancel and read runs, their logs and what they kept.",
    "Folders": "Folders that runs start from.",
    "Secrets": "Values that go in, and never out.",
    "Runners": "Who executes, as people see it.",
    "Projects": "What belongs together, mostly one repository.",
    "Pauses": "What waits in queues, and what is made to wait.",
    "Runner protocol": "What runners say and are told. Not for others: it has versions of its own.",
    "Health": "For whoever watches the process.",
}
_CODES = {
    400: {"bad_request": "The body is no JSON object, or holds what cannot be stored."},
    401: {},
    403: {},
    404: {},
    409: {},
    410: {},
    413: {"too_large": "The body is over its bound."},
    414: {"too_large": "The request's first line is too long."},
    415: {"unsupported_media_type": "The body is of a media type that is not taken."},
    416: {"range_not_satisfiable": "The range is outside of what there is."},
    421: {"wrong_host": "The host is none of this server's names."},
    422: {},
    426: {},
    503: {"too_many_streams": "As many streams are open as this process holds."},
}
_PATH = {
    "project": "A project's name; `default` is there from the start.",
    "slug": "A pipeline's slug.",
    "run": "A run's id, a unique prefix of it, or `pipeline#12`.",
    "key": "A stage's key.",
    "name": "A name.",
    "queue": "A queue's name.",
    "job": "A job's id.",
    "stage": "A stage's key.",
    "digest": "A SHA-256 as 64 hexadecimal digits.",
    "sha256": "A SHA-256 as 64 hexadecimal digits.",
}
_DIGEST = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_RULE = re.compile(r"<(?:[^<:>]+:)?([^>]+)>")


def complete(document: Any, app: APIFlask) -> Table:
    """The document with its problems, headers, bodies of bytes and tags; small oddities are mended."""
    document["info"]["contact"] = {"name": "The operators of this server"}
    document["tags"] = [{"name": name, "description": text} for name, text in TAGS.items()]
    schemas = document["components"]["schemas"]
    for name in ("HTTPError", "ValidationError"):
        schemas.pop(name, None)
    views = {(path, method): view for path, method, view in _views(app)}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            said = said_of(views[path, method])
            _mend_parameters(operation, said)
            _mend_answers(operation)
            if said.body:
                content = {said.body: {"schema": {"type": "string", "format": "binary"}}}
                operation["requestBody"] = {"required": True, "content": content}
            elif "requestBody" in operation:
                operation["requestBody"]["required"] = not said.may_have_no_body
            for status, codes in sorted(_refusals(path, method, operation, said).items()):
                operation["responses"][str(status)] = {"$ref": f"#/components/responses/{_called(status)}"}
                _add_problem(document["components"], status, codes)
    _tidy(document)
    return document


def _views(app: APIFlask) -> Iterator[tuple[str, str, Callable[..., Any]]]:
    for rule in app.url_map.iter_rules():
        path = _RULE.sub(r"{\1}", rule.rule)
        for method in rule.methods or ():
            yield path, method.lower(), app.view_functions[rule.endpoint]


def _refusals(path: str, method: str, operation: Mapping[str, Any], said: Said) -> dict[int, set[str]]:
    """The codes of an operation's problems by status."""
    found: dict[int, set[str]] = {414: {"too_large"}, 421: {"wrong_host"}}

    def may(status: int, code: str) -> None:
        found.setdefault(status, set()).add(code)

    if operation.get("security"):
        may(401, "unauthenticated")
        may(403, "forbidden")
        may(503, "unavailable")
    if method in ("post", "put") and said.body is None:
        may(400, "bad_request")
        may(415, "unsupported_media_type")
    if method in ("post", "put"):
        may(413, "too_large")
    if "{" in path:
        may(404, "not_found")
    if "requestBody" in operation or any(each["in"] != "path" for each in operation["parameters"]):
        may(422, "invalid_input")
    for status, codes in said.refusals.items():
        found.setdefault(status, set()).update(codes)
    return found


def _mend_parameters(operation: Table, said: Said) -> None:
    for parameter in operation["parameters"]:
        schema = parameter["schema"]
        either = schema.get("anyOf") or []
        given = [each for each in either if each != {"type": "null"}]
        if parameter["in"] == "query" and len(given) == 1 < len(either):
            # A query has no null: what may be left out is left out.
            kept = {name: value for name, value in schema.items() if name not in ("anyOf", "default")}
            schema = parameter["schema"] = {**kept, **given[0]}
        if "description" in schema:
            parameter["description"] = schema.pop("description")
        schema.pop("title", None)
        if parameter["in"] == "path":
            parameter["description"] = _PATH[parameter["name"]]
            if parameter["name"] in ("digest", "sha256"):
                parameter["schema"] = dict(_DIGEST)
    operation["parameters"] += [
        {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in said.headers.items()
    ]


def _mend_answers(operation: Table) -> None:
    """Errors are said elsewhere; a second success has the schema of the first, 204 has no body."""
    answers = operation["responses"]
    for status in [status for status in answers if status[0] in "45"]:
        del answers[status]
    known = next(
        (
            answer["content"]["application/json"]["schema"]
            for answer in answers.values()
            if answer.get("content", {}).get("application/json", {}).get("schema")
        ),
        None,
    )
    for status, answer in answers.items():
        if status == "204":
            answer.pop("content", None)
        elif answer.get("content", {}).get("application/json") == {"schema": {}} and known:
            answer["content"]["application/json"]["schema"] = known
        if answer.get("description") == "Successful response":
            answer["description"] = operation["summary"]


def _add_problem(components: Table, status: int, codes: set[str]) -> None:
    """The answer of that status, and its schema with every code that some operation gives it."""
    name = _called(status)
    schemas, answers = components["schemas"], components.setdefault("responses", {})
    if "Problem" not in schemas:
        schemas["Problem"] = _PROBLEM
    known = schemas.get(name, {"allOf": [None, {"properties": {"code": {"enum": []}}}]})
    every = sorted({*known["allOf"][1]["properties"]["code"]["enum"], *codes})
    schemas[name] = {
        "allOf": [
            {"$ref": "#/components/schemas/Problem"},
            {"type": "object", "properties": {"code": {"type": "string", "enum": every}}},
        ]
    }
    text = " ".join(f"`{code}`: {_meaning(status, code)}" for code in every)
    answer: Table = {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{name}"}}},
    }
    if status == 503:
        after = {"description": "Seconds to wait.", "required": True, "schema": {"type": "string"}}
        answer["headers"] = {"Retry-After": after}
    answers[name] = answer


def _meaning(status: int, code: str) -> str:
    if code in _CODES[status]:
        return _CODES[status][code]
    kind: type[RivetError] = next(kind for kind in STATUSES if kind.code == code)
    return inspect.getdoc(kind) or ""


def _called(status: int) -> str:
    return f"Problem{status}"


_PROBLEM: Table = {
    "type": "object",
    "description": "What went wrong, as RFC 9457 tells it. There may be further members.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "detail": {"type": "string", "description": "For people: what is wrong, and the way out."},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "Of `invalid_input`: what is wrong with each field.",
        },
        "findings": {
            "type": "array",
            "items": {"type": "object"},
            "description": "Of `invalid_pipeline`: each place with its line and column.",
        },
    },
    "additionalProperties": True,
}


def _tidy(document: Table) -> None:
    """APIFlask names a nested schema by its parent, `RunPage.RunListed`; those that are alike become one."""
    schemas = document["components"]["schemas"]
    short = {name: name.rpartition(".")[2] for name in schemas}
    renamed = {name: _renamed(schema, short) for name, schema in schemas.items()}
    alike = {
        name
        for name in schemas
        if all(renamed[other] == renamed[name] for other in schemas if short[other] == short[name])
    }
    final = {name: short[name] if name in alike else name for name in schemas}
    document["components"]["schemas"] = {
        final[name]: _renamed(schema, final) for name, schema in sorted(schemas.items())
    }
    document["paths"] = _renamed(document["paths"], final)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """With every reference to a schema by its new name."""
    match value:
        case {"$ref": str(place)}:
            head, _, name = place.rpartition("/")
            return {**value, "$ref": f"{head}/{names.get(name, name)}"}
        case dict():
            return {key: _renamed(item, names) for key, item in value.items()}
        case list():
            return [_renamed(item, names) for item in value]
    return value
