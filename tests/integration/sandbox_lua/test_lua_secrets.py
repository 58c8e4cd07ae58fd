"""Secrets in a real Lua child: they can be joined and handed on, and nothing can be learned of them."""

import pytest

from rivet.domain.secret import Opaque, Reference
from rivet.sandbox.lua import LuaLimits, open_script

TOKEN = Opaque((Reference("TOKEN"),))
MODULES = {"log": {"info": "oneway"}, "secrets": {"get": "call"}, "process": {"run": "call"}}


@pytest.fixture
def run_with_token(zygote):
    """Runs a script's body in which `s` is a secret; the failure if there is one, and the calls."""

    def run(body):
        source = (
            "pipeline = { stages = { { name = 'only', script = function()\n"
            f"local s = secrets.get('TOKEN')\n{body}\nend }} }} }}"
        )
        calls = []

        def serve(module, function, arguments):
            calls.append(arguments)
            return TOKEN if module == "secrets" else arguments

        with open_script(
            zygote, source, "rivet.lua", LuaLimits(cpu_s=1, wall_s=20), modules=MODULES, values={}, resolve=False
        ) as script:
            failure = script.run(("stages", 1), serve)
        return failure, calls[1:]

    return run


def test_a_secret_joined_with_texts_stays_opaque_on_its_way(run_with_token):
    failure, calls = run_with_token(
        "process.run({ env = { A = s, B = 'x' .. s .. 5 .. s .. 'y\\0' .. 'z' }, stdin = 'a' .. ('b' .. s) })"
    )
    assert failure is None
    reference = Reference("TOKEN")
    assert calls == [[{
        "env": {"A": TOKEN, "B": Opaque((b"x", reference, b"5", reference, b"y\0z"))},
        "stdin": Opaque((b"ab", reference)),
    }]]


def test_a_secret_comes_back_from_a_call_as_it_went(run_with_token):
    failure, calls = run_with_token(
        "local back = process.run({ 'x' .. s })[1][1]\nprint(back)\nprocess.run({ back .. '!' })"
    )
    assert failure is None
    assert calls[-1] == [[Opaque((b"x", Reference("TOKEN"), b"!"))]]


@pytest.mark.parametrize(
    "expression",
    ["tostring(s)", "string.format('%s', s)", "('%s'):format(s)", "string.format('%-3s', s)"],
)
def test_a_secret_is_shown_as_three_stars(run_with_token, expression):
    failure, calls = run_with_token(f"print({expression}) print(s) print('a', s) print('Bearer ' .. s)")
    assert failure is None
    assert calls == [["***"], ["***"], ["a\t***"], ["Bearer ***"]]


def test_an_error_that_is_a_secret_shows_three_stars(run_with_token):
    failure, _ = run_with_token("error('no ' .. s)")
    assert failure.message == "no ***"
    failure, _ = run_with_token("error({ message = s })")
    assert failure.message == "the script raised a table as its error: {message = table}"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("local x = #s", "has no length"),
        ("local x = s < 'a'", "cannot be compared"),
        ("local x = s >= s .. ''", "cannot be compared"),
        ("local x = s == s .. ''", "cannot be compared"),
        ("local x = s.value", "no field or method value"),
        ("local x = s[1]", "no text"),
        ("local x = s:sub(1, 1)", "no field or method sub"),
        ("local x = string.sub(s, 1, 1)", "string expected, got secret"),
        ("local x = string.rep(s, 2)", "string expected, got secret"),
        ("local x = table.concat({ s })", "invalid value"),
        ("s.x = 1", "cannot be changed"),
        ("local x = s + 1", "cannot be calculated with"),
        ("local x = -s", "cannot be calculated with"),
        ("local x = s()", "is no function"),
        ("for _ in pairs(s) do end", "is no table"),
        ("for _ in ipairs(s) do end", "no text"),
        ("local x = s .. {}", "not to a table"),
        ("local x = nil .. s", "not to a nil"),
        ("local x = setmetatable(s, {})", "protected metatable"),
        ("process.run({ [s] = 1 })", "as a key"),
        ("local j = s for i = 1, 1001 do j = j .. s end", "more than 1000"),
    ],
)
def test_what_would_tell_something_of_a_secret_is_an_error_at_its_line(run_with_token, code, words):
    failure, calls = run_with_token(code)
    assert words in failure.message
    assert failure.line == 3
    assert calls == []


def test_raw_access_finds_nothing(run_with_token):
    failure, calls = run_with_token(
        "print(rawlen(s), rawget(s, 1), next(s), getmetatable(s), type(s)) rawset(s, 1, 'x') print(s)"
    )
    assert failure is None
    assert calls == [["0\tnil\tnil\tfalse\ttable"], ["***"]]


def test_no_secret_is_had_while_the_pipeline_is_defined(zygote):
    failure = open_script(
        zygote, "local s = secrets.get('TOKEN') return {}", "rivet.lua", LuaLimits(cpu_s=1, wall_s=20),
        modules=MODULES, values={}, resolve=False,
    )
    assert "secrets.get may not be used while the pipeline is being defined" in failure.message
