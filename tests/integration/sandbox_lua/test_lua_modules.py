"""Modules as scripts meet them: real declarations behind a real Lua child, values there and back."""

import base64
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from rivet.domain.annotation import Annotation
from rivet.modules import registry
from rivet.modules.contract import CallError, Launch, Process
from rivet.sandbox.lua import LuaError, LuaLimits, Refused, open_script


class Stage:
    """What these modules use of a stage."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.env: dict[str, str] = {}
        self.outputs: dict[str, Any] = {}
        self.paused: list[float] = []
        self.background = self
        self.open: list[int] = []

    def begin_group(self, name: str) -> int:
        self.said.append(f"begin {name}")
        self.open.append(len(self.said))
        return len(self.said)

    def end_group(self, number: int) -> None:
        assert self.open.pop() == number
        self.said.append("end")

    def start(self, launch: Launch) -> int:
        self.said.append(f"start {launch.argv}")
        return 7

    def launched(self, handle: int) -> Launch:
        assert handle == 7
        return Launch(["x"], {}, ".", None, None, False, True, None)

    def wait(self, handle: int, timeout_s: float | None) -> Process:
        return Process(0, b"", b"", timeout_s or 0.0, [])

    def is_running(self, handle: int) -> bool:
        return handle == 7

    def say(self, level: str, text: str) -> None:
        self.said.append(text)

    def annotate(self, annotation: Annotation) -> None:
        self.said.append(str(annotation))

    def set_output(self, name: str, value: Any) -> None:
        self.outputs[name] = value

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)


@pytest.fixture
def stage() -> Stage:
    return Stage()


@pytest.fixture
def run(zygote, stage) -> Callable[[str], LuaError | None]:
    """Runs a script's body, which begins in line 2, with all modules."""

    def run(body: str) -> LuaError | None:
        source = "pipeline = { stages = { { name = 'only', script = function()\n" + body + "\nend } } }"
        script = open_script(
            zygote, source, "rivet.lua", LuaLimits(cpu_s=5, wall_s=20),
            modules=registry.bindings(), values={"run": {}, "input": {}}, resolve=True,
        )  # fmt: skip
        assert not isinstance(script, LuaError), script

        def call(module: str, function: str, args: list[Any]) -> Any:
            try:
                return registry.call(module, function, args, stage)  # type: ignore[arg-type]
            except CallError as error:
                raise Refused(str(error)) from None

        with script:
            return script.run(("stages", 1), call)

    return run


TEXTS = [
    "{}", "[]", "null", "[null,1,null]", '{"a":null,"b":[],"c":{},"d":[[],{}]}', "true", '"a\\u0000\\né\U0001f600"',
    "9223372036854775807", "-9223372036854775808", "0.1", "1e+300", "-2.5", "1.0", '[{"x":[1,2,[3,[]]]}]', '{"1":"a"}',
    '{"":""}', "[" * 28 + "]" * 28,
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_json_comes_back_as_it_was(run, stage, text):
    assert run(f"log.info(json.encode(json.decode([==[{text}]==])))") is None
    assert json.loads(stage.said[0]) == json.loads(text)
    assert type(json.loads(stage.said[0])) is type(json.loads(text))
    assert stage.said[0].replace(" ", "") == json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":"))


def test_lists_tables_and_null_are_told_apart(run, stage):
    body = """
      log.info(json.encode({}), nil)
      log.info(json.encode(json.array({})))
      log.info(json.encode({ 1, json.null, 3 }))
      log.info(json.encode({ a = json.null, b = json.array() }))
      local list = json.decode("[1]")
      table.remove(list)
      log.info(json.encode(list))
      assert(json.decode("null") == json.null and json.decode('{"a":null}').a == json.null)
      assert(json.null and tostring(json.null) == "null" and env.get("unset") == nil)
      assert(math.type(json.decode("1")) == "integer" and math.type(json.decode("1.0")) == "float")
      assert(json.decode("18446744073709551616") == 2.0^64)
      log.info(json.encode({ b = 1, a = { true } }, 2))
    """
    assert run(body) is None
    assert stage.said == [
        "{}", "[]", "[1,null,3]", '{"a":null,"b":[]}', "[]", '{\n  "a": [\n    true\n  ],\n  "b": 1\n}',
    ]  # fmt: skip


def test_what_json_holds_travels_through_outputs(run, stage):
    assert run('output.set("x", json.decode("{\\"a\\":null,\\"l\\":[]}")) log.info(json.encode(output.get("x")))') is None
    assert stage.outputs == {"x": {"a": None, "l": []}}
    assert stage.said == ['{"a":null,"l":[]}']


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('json.decode("{\\n  \\"a\\": tru }")', 'json.decode: text: line 2, column 8: expecting value, near "tru }"'),
        ('json.decode("")', "line 1, column 1: expecting value (the end of the text)"),
        ('json.decode("[1,]")', "line 1, column 4"),
        ('json.decode("NaN")', "NaN is no value that JSON has"),
        ('json.decode("1e999")', "a number that is too large"),
        ('json.decode("1" .. string.rep("0", 5000))', "a number that is too large"),
        ('json.decode(\'"\\\\ud800"\')', "half of a surrogate pair"),
        ('json.decode("\\xff")', "is not UTF-8 from byte 1 on"),
        ('json.decode(string.rep("[", 31) .. string.rep("]", 31))', "nested deeper than 30"),
        ('json.decode(string.rep("[", 200000))', "nested deeper than 30"),
        ('json.decode("[" .. string.rep("1,", 99000) .. "1]")', "more than 99000 entries"),
        ("json.encode({ [1] = 1, x = 2 })", "a table with keys that are no texts"),
        ("json.encode({ 0/0 })", "a number that is not finite"),
        ('json.encode("\\xff")', "a text that is not valid UTF-8"),
        ("json.encode(print)", "given a function"),
        ("local t = {} t.t = t json.encode(t)", "holds itself"),
        ("json.encode(coroutine.create(print))", "a coroutine cannot leave a script"),
        ("json.array(5)", "json.array: table: expected a table with the keys 1, 2, ... or none, given a number"),
        ("json.array({ 1, nil, 3 })", "or with gaps"),
        ("json.null.x = 1", "json.null cannot be changed"),
        ("json.nul = 1", "module json cannot be changed"),
        ('base64.decode("a")', "base64.decode: text: expected base64 with its padding"),
        ('base64.decode("a_b-")', "expected base64"),
        ('time.sleep("soon")', 'time.sleep: seconds: expected a duration such as 90, "90s", "30m" or "2h"'),
        ("time.sleep(-1)", "time.sleep: seconds: expected at least 0, given -1"),
        ("time.sleep(1e300)", "at most a year"),
        ("time.iso(-5)", "time.iso: seconds: expected at least 0"),
        ("hash.sha256()", "hash.sha256: text: is required"),
    ],
)
def test_what_is_wrong_is_told_at_its_line(run, body, words):
    failure = run("\n" + body)
    assert words in failure.message
    assert (failure.kind, failure.line) == ("error", 3)


def test_null_belongs_to_scripts_like_all_of_its_module(zygote):
    failure = open_script(
        zygote, "return { x = json.null }", "rivet.lua", LuaLimits(), modules=registry.bindings(), values={}, resolve=False
    )
    assert "json.null may not be used while the pipeline is being defined" in failure.message


def test_base64_and_hashes_take_any_bytes(run, stage):
    body = """
      local raw = "\\0\\xff" .. string.rep("x", 100)
      local text = base64.encode(raw)
      log.info(text)
      assert(base64.decode(text:sub(1, 76) .. "\\n " .. text:sub(77)) == raw)
      log.info(hash.sha256(raw))
    """
    assert run(body) is None
    raw = b"\0\xff" + b"x" * 100
    assert stage.said == [base64.b64encode(raw).decode(), hashlib.sha256(raw).hexdigest()]


def test_times_are_the_runners(run, stage):
    assert run('log.info(time.now()) log.info(time.iso(0)) log.info(time.iso()) time.sleep(0.5) time.sleep("2m")') is None
    assert abs(float(stage.said[0]) - time.time()) < 10
    assert stage.said[1] == "1970-01-01T00:00:00Z"
    assert stage.said[2].startswith("20")
    assert stage.paused == [0.5, 120]


def test_a_group_holds_together_what_its_function_says(run, stage):
    body = """
      local a, b = log.group("outer", function()
        log.info("one")
        log.group({ name = "inner", fn = function() log.info("two") end })
        return 1, "b"
      end)
      assert(a == 1 and b == "b")
      local ok, why = pcall(log.group, "caught", function() error({ code = 5 }) end)
      assert(not ok and why.code == 5)
      local turns = coroutine.wrap(function() log.group("turns", function() coroutine.yield(1) log.info("back") end) end)
      turns() turns()
    """
    assert run(body) is None
    assert stage.said == [
        "begin outer", "one", "begin inner", "two", "end", "end", "begin caught", "end",
        "begin turns", "back", "end",
    ]  # fmt: skip


def test_an_error_in_a_group_keeps_its_line_and_its_traceback(run, stage):
    failure = run("log.group('g', function()\nlocal x = nil\nx.y = 1\nend)")
    assert failure.line == 4
    assert "attempt to index a nil value" in failure.message
    assert failure.traceback[0].startswith("rivet.lua:4: ")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("log.group('x')", "log.group: fn: expected a function, given a string"),
        ("log.group()", "log.group: fn: expected a function, given nothing"),
        ("log.group({ name = 'x' })", "log.group: fn: expected a function, given nothing"),
        ("log.group(function() end)", "log.group: name: is required"),
        ("log.group('x', 'y', function() end)", "log.group: fn: "),
        ("log.annotate({ message = 'x', level = 'fatal' })", "log.annotate: level: expected a text that matches"),
        ("log.annotate({ message = 'x', file = '/etc/passwd' })", "log.annotate: file: expected a relative path"),
        ("local h = process.start({ command = 'x' }) h.wait()", "h:wait: takes the handle that it is a method of"),
        ("local h = process.start({ command = 'x' }) h.kill()", "a handle of process.start has no method kill"),
        ("local h = process.start({ command = 'x' }) h.x = 1", "a handle of process.start cannot be changed"),
        ("local h = process.start({ command = 'x' }) output.set('h', h)", "a handle cannot leave a script"),
        ("local h = process.start({ command = 'x' }) h:wait('long')", "h:wait: timeout: expected a duration"),
    ],
)
def test_what_is_wrong_with_functions_and_handles_is_told(run, body, words):
    failure = run(body)
    assert words in failure.message
    assert failure.line == 2


def test_a_handle_knows_its_process(run, stage):
    body = """
      local h = process.start({ command = "x", args = { 1 } })
      assert(h:running() == true and h:wait().exit_code == 0 and h:wait("2m").seconds == 120)
      assert(tostring(h) == "process.start" and getmetatable(h) == false and not pcall(setmetatable, h, {}))
    """
    assert run(body) is None
    assert stage.said == ["start ['x', '1']"]


def test_an_annotation_is_a_line_that_names_its_place(run, stage):
    body = """
      log.annotate({ level = "error", message = "unused", file = "src/a.py", line = 12 })
      log.annotate({ message = "odd" })
      print("a", nil, 2)
    """
    assert run(body) is None
    assert stage.said == ["src/a.py:12: unused", "odd", "a\tnil\t2"]


def test_what_does_not_fit_into_a_script_is_refused_and_not_the_end_of_it(run, stage):
    stage.env = {"LARGE": "x" * (8 << 20), "HALF": "\ud800"}
    body = """
      local ok, why = pcall(env.get, "LARGE")
      print(why)
      ok, why = pcall(env.get, "HALF")
      print(why)
    """
    assert run(body) is None
    assert stage.said[0].startswith("rivet.lua:3: env.get: what it gives does not fit into a script: a value of 83886")
    assert "half of a surrogate pair" in stage.said[1]
