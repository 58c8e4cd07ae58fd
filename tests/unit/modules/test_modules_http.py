"""What scripts hand to `http`, and what they get back of an answer."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from rivet.domain.secret import Opaque, Reference
from rivet.modules import registry
from rivet.modules.contract import CallError
from rivet.modules.web import Answer, Ask
from rivet.sandbox.frames import KeepNulls

URL = "https://example.org/a"
TOKEN = Opaque((b"Bearer ", Reference("TOKEN")))


@dataclass
class Web:
    """Answers what the test says, and keeps what it was asked."""

    answer: Answer = field(default_factory=lambda: Answer(200, URL, {}, b""))
    asked: list[Ask] = field(default_factory=list)

    def ask(self, ask: Ask) -> Answer:
        self.asked.append(ask)
        return self.answer


def call(web: Web, function: str, *args: Any) -> Any:
    stage: Any = SimpleNamespace(web=web)
    return registry.call("http", function, list(args), stage)


def test_the_short_form_takes_a_url():
    web = Web()
    call(web, "get", URL)
    assert web.asked == [Ask("http.get", "GET", URL, {}, None, None, 30.0, 1024 * 1024)]


@pytest.mark.parametrize(
    ("function", "method"), [("get", "GET"), ("post", "POST"), ("put", "PUT"), ("delete", "DELETE")]
)
def test_each_function_has_its_method(function, method):
    web = Web()
    call(web, function, {"url": URL})
    assert web.asked[0].method == method


def test_headers_and_json_may_hold_secrets_and_pass_them_on_unopened():
    web = Web()
    call(web, "post", {"url": URL, "headers": {"Authorization": TOKEN}, "json": {"deep": [TOKEN]}})
    assert web.asked[0].headers == {"Authorization": TOKEN}
    assert web.asked[0].json == ({"deep": [TOKEN]},)


def test_a_query_is_added_to_what_the_url_has():
    web = Web()
    call(web, "get", {"url": f"{URL}?x=1#part", "query": {"q": "ä &", "n": [1, 2.5], "yes": True}})
    assert web.asked[0].url == f"{URL}?x=1&q=%C3%A4+%26&n=1&n=2.5&yes=true#part"


def test_json_comes_back_with_its_nulls_and_the_body_as_bytes():
    web = Web(Answer(200, URL, {"content-type": b"application/problem+json; charset=utf-8"}, b'{"a":null}'))
    answer = call(web, "get", URL)
    assert answer["json"] == KeepNulls({"a": None})
    assert answer["body"] == b'{"a":null}'


@pytest.mark.parametrize(
    ("kind", "body"), [(b"text/plain", b"{}"), (b"application/json", b"{"), (b"application/json", b"\xff")]
)
def test_what_is_no_json_is_a_body_alone(kind, body):
    answer = call(Web(Answer(500, URL, {"content-type": kind}, body)), "get", URL)
    assert (answer["status"], answer["body"]) == (500, body)
    assert "json" not in answer


@pytest.mark.parametrize(
    ("function", "fields", "words"),
    [
        ("get", {"headers": {}}, "http.get: url: is required"),
        ("get", {"url": URL, "body": "x"}, 'has no field "body"'),
        ("get", {"url": TOKEN}, "url: expected a text, given a secret; .*`headers`"),
        ("post", {"url": URL, "json": 1, "body": "x"}, "http.post: takes `json` or `body`, given both"),
        ("post", {"url": URL, "json": {1: 2, "a": 3}}, "json: .*keys that are no texts"),
        ("request", {"url": URL, "method": "get"}, "http.request: method: expected a text that matches"),
        ("request", {"url": URL, "query": {"a": {"b": 1}}}, "query: a: expected a text, .*given a table"),
        ("request", {"url": URL, "max_bytes": 1 << 30}, "max_bytes: expected at most 3"),
        ("request", {"url": URL, "timeout": "2d"}, "timeout: expected a duration"),
    ],
)
def test_ill_fields_are_named(function, fields, words):
    with pytest.raises(CallError, match=words):
        call(Web(), function, fields)
