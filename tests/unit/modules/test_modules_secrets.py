"""Which fields of calls take a secret, and what is said where one does not."""

from typing import Any

import pytest

from rivet.domain.secret import Opaque, Reference
from rivet.modules import registry
from rivet.modules.contract import Call, CallError, Secretive, about
from rivet.modules.fields import check_fields
from rivet.modules.log import entry
from rivet.modules.process import Run

TOKEN = Opaque((b"Bearer ", Reference("TOKEN")))


class Sample(Call, module="sample"):
    """For these tests."""

    text: str = about("a text", default="")
    texts: list[str] = about("texts", default=())
    either: str | Opaque = about("a text or a secret", default="")
    table: dict[str, bytes | Opaque] = about("by name", default={})
    anything: Secretive = about("anything", default=None)
    plain: Any = about("anything without a secret", default=None)


def refused(call, **given):
    with pytest.raises(CallError) as caught:
        call.bind([given])
    return str(caught.value)


def test_a_field_that_takes_a_secret_gets_it_as_it_is():
    given = {"either": TOKEN, "table": {"a": TOKEN, "b": "x"}, "anything": [{"deep": TOKEN}]}
    bound = Sample.bind([given])
    assert (bound.either, bound.table, bound.anything) == (TOKEN, {"a": TOKEN, "b": b"x"}, [{"deep": TOKEN}])
    assert Sample.bind([{"either": 5}]).either == "5"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"text": TOKEN}, "sample.sample: text: expected a text, given a secret"),
        ({"texts": [TOKEN]}, "texts: expected a text, given a table that holds a secret"),
        ({"plain": TOKEN}, "plain: expected a value without a secret in it, given a secret"),
        ({"plain": {"a": [TOKEN]}}, "given a table that holds a secret"),
    ],
)
def test_any_other_field_says_which_fields_do(given, words):
    told = refused(Sample, **given)
    assert words in told
    assert told.endswith("; of this function's fields `either` and `table` and `anything` may be one, or hold one")


def test_a_field_that_takes_a_secret_names_it_among_what_it_takes():
    assert refused(Sample, either={}).endswith("either: expected a text or a secret, given an empty table")


def test_no_secret_gets_into_the_arguments_of_a_command():
    told = refused(Run, command="deploy", args=["--token", TOKEN])
    assert "process.run: args: expected a text, given a table that holds a secret" in told
    assert "`env` and `stdin`" in told


def test_a_function_without_such_a_field_says_where_secrets_go():
    with pytest.raises(CallError, match="can be handed on in `env` and `stdin` of"):
        registry.FUNCTIONS["output"]["set"].bind(["name", TOKEN])


def test_a_message_of_the_log_shows_stars():
    assert entry(TOKEN, {"a": TOKEN, "b": {"c": TOKEN}, "d": 1}) == "Bearer *** a=Bearer *** b=a table d=1"


def test_messages_of_the_log_and_environment_and_input_of_a_command_take_secrets():
    takers = {
        f"{declared.title()}.{name}"
        for calls in registry.FUNCTIONS.values()
        for declared in calls.values()
        for name in declared.declared
        if takes(declared, name)
    }
    log = {f"log.{level}.{name}" for level in ("debug", "info", "warn", "error") for name in ("message", "fields")}
    assert log | {"process.run.env", "process.run.stdin"} <= takers


def takes(declared, name):
    for value in (TOKEN, {"a": TOKEN}):
        try:
            check_fields("x", {name: declared.declared[name]}, {name: declared.hints[name]}, {name: value})
        except CallError:
            continue
        return True
    return False
