"""Scripts on real Lua children: evaluation, calls, errors with their lines."""

import time

import pytest

from rivet.domain.pipeline import Function
from rivet.sandbox.lua import LuaError, Script


def test_a_file_that_assigns_and_one_that_returns_define_the_same(open_lua):
    forms = ("pipeline = {}", "return {}", "return pipeline.define {}", "pipeline = {} return pipeline")
    texts = [form.replace("{}", '{ name = "x", n = 1.5, list = { 1, true, "é" } }') for form in forms]
    tables = [open_lua(text).table for text in texts]
    assert tables == [{"name": "x", "n": 1.5, "list": [1, True, "é"]}] * 4


def test_a_function_in_a_definition_is_its_line(open_lua):
    assert open_lua("return {\n\nscript = function() end }").table == {"script": Function(3)}


def test_bytes_that_are_no_text_stay_bytes(open_lua):
    assert open_lua('return { "\\xff\\0" }').table == [b"\xff\0"]


def test_a_file_that_defines_nothing_gives_none(open_lua):
    assert open_lua("local x = 1").table is None


def test_calls_arrive_in_order_with_their_arguments_as_they_are(run_stage, heard):
    assert run_stage('log.info("a", { x = 1 })\nprint("b", nil, 2, {})\nlog.info(env.get("c"))') is None
    assert heard.calls == [
        ("log.info", ["a", {"x": 1}]),
        ("log.info", ["b\tnil\t2\ttable"]),
        ("env.get", ["c"]),
        ("log.info", ["c"]),
    ]


def test_values_survive_the_way_to_python_and_back(run_stage, heard):
    body = """
      local value = { 1, 2.5, -0.0, "x\\0y", { deep = { true, false } }, math.mininteger }
      local back = env.get(value)
      assert(back[1] == 1 and math.type(back[2]) == "float" and back[4] == "x\\0y")
      assert(back[5].deep[1] == true and back[5].deep[2] == false and back[6] == math.mininteger)
      assert(env.get(nil) == nil)
    """
    assert run_stage(body) is None


def test_thirty_tables_within_one_another_pass_both_ways(run_stage, heard):
    body = "local t = {} for i = 1, 28 do t = { t } end log.info(t) env.get(t)"
    assert run_stage(body) is None
    assert len(heard.calls) == 2


def test_a_refused_call_is_an_error_at_the_line_of_the_call(run_stage):
    failure = run_stage('local x = 1\nenv.get("refuse")')
    assert failure == LuaError(
        "error", "env.get: refused", "rivet.lua", 3, ("rivet.lua:3: in the function at line 1",)
    )


def test_a_refused_call_can_be_caught(run_stage, heard):
    assert run_stage('local ok, why = pcall(env.get, "refuse") log.info(why)') is None
    assert heard.lines == ["rivet.lua:2: env.get: refused"]


def test_what_was_said_before_an_error_is_heard_first(run_stage, heard):
    failure = run_stage('for i = 1, 3000 do log.info(i) end\nerror("stop")')
    assert (failure.message, failure.line) == ("stop", 3)
    assert heard.lines == list(range(1, 3001))


def test_what_is_just_being_said_is_neither_doubled_nor_lost_by_the_hook_that_sends_it_in_time(run_stage, heard):
    """The hook comes every 10 000 instructions of a thread: here at each place of saying something."""
    body = """
      for filler = 9700, 9900 do
        for i = 1, 2000000 do end
        coroutine.wrap(function() for i = 1, filler do end log.info(filler) end)()
      end"""
    assert run_stage(body, cpu_s=60, wall_s=60) is None
    assert heard.lines == list(range(9700, 9901))


def test_a_refusal_of_something_said_fails_the_script_at_last(run_stage):
    assert run_stage('log.info("refuse")').message == "log.info: refused"
    assert run_stage('log.info("refuse") pcall(env.get, "x")') is None


def test_a_line_is_heard_while_the_script_goes_on_working(open_lua):
    script = open_lua(
        "return { { script = function() log.info(1) for i = 1, 2e7 do end log.info(2) end } }", cpu_s=20
    )
    heard_at = []
    assert script.run((1,), lambda *_: heard_at.append(time.monotonic())) is None
    assert heard_at[1] - heard_at[0] > 0.02


def test_error_values_of_any_type_are_told_in_words(run_stage):
    assert run_stage("error({ code = 3, message = 'm' })").message == "m"
    assert run_stage("error({ code = 3 })").message == "the script raised a table as its error: {code = 3}"
    assert run_stage("error()").message == "the script raised nil: error was called without a message"
    told = "error(setmetatable({}, { __tostring = function() return 'told' end }))"
    assert run_stage(told).message == "told"


def test_an_error_in_loaded_code_points_to_the_line_of_the_file(run_stage):
    failure = run_stage('local f = load("error(1)")\nlocal function g() f() end\ng()')
    assert (failure.line, failure.kind) == (3, "error")


def test_a_traceback_names_functions_and_lines(run_stage):
    failure = run_stage('local function deep() error("x") end\nlocal function outer() deep() end\nouter()')
    assert failure.traceback[0] == "rivet.lua:2: in function 'deep'"
    assert "0x" not in "".join(failure.traceback)


def test_a_syntax_error_has_its_line(open_lua):
    failure = open_lua("x = 1\ny = = 2")
    assert failure == LuaError("syntax", "unexpected symbol near '='", "rivet.lua", 2)


def test_modules_are_locked_until_the_file_has_returned(open_lua):
    failure = open_lua('local a = log.info\nlog.info("x")')
    assert failure.line == 2
    assert failure.message.startswith("log.info may not be used while the pipeline is being defined")
    assert open_lua("local id = run.id").message.startswith("run.id may not be used while")
    assert open_lua('return { pcall(print, "x"), (pcall(env.get, "x")) }').table[0] is False


def test_constants_are_read_and_unknown_ones_are_nil(run_stage, heard):
    assert run_stage("log.info(run.id) log.info(run.number) log.info(run.nothing == nil)") is None
    assert heard.lines == ["r1", 7, True]


def test_an_unknown_function_is_refused_with_the_known_ones(run_stage):
    assert run_stage('log.inof("x")').message == "module log has no function inof; it has info, warn"


def test_stages_given_as_a_function_are_resolved_from_inputs(open_lua):
    source = """
      return { stages = function()
        local list = {}
        for i = 1, input.get("n", 5) do
          list[i] = { name = run.id .. i, script = function() log.info(i) end }
        end
        assert(input.has("n") and not input.has("m") and input.all().n == 2 and input.get("m", 4) == 4)
        return list
      end }
    """
    script = open_lua(source, resolve=True, values={"input": {"n": 2}, "run": {"id": "r"}})
    assert script.table == {
        "stages": [{"name": "r1", "script": Function(5)}, {"name": "r2", "script": Function(5)}]
    }
    said = []
    assert script.run(("stages", 2), lambda *call: said.append(call)) is None
    assert said == [("log", "info", [2])]


def test_only_input_and_run_may_be_used_while_stages_are_resolved(open_lua):
    failure = open_lua(
        'return { stages = function() log.info("x") end }', resolve=True, values={"input": {}, "run": {}}
    )
    assert failure.message.startswith("log.info may not be used here")


def test_a_definition_that_cannot_leave_the_child_says_where(open_lua):
    assert open_lua("return { a = { coroutine.create(print) } }").message == (
        "the pipeline cannot be read: a coroutine cannot leave a script (at .a[1])"
    )
    assert "deeper than 30" in open_lua("local t = {} t.t = t return t").message


def test_traversal_is_in_one_order_in_every_child(open_lua):
    source = """
      local order = {}
      local t = { z = 1, a = 1, [10] = 1, [2] = 1, [1.5] = 1, b = 1, [true] = 1, [false] = 1 }
      for key in pairs(t) do order[#order + 1] = tostring(key) end
      for key in next, t do order[#order + 1] = tostring(key) end
      return order
    """
    once = ["1.5", "2", "10", "a", "b", "z", "false", "true"]
    for _ in range(3):
        assert open_lua(source).table == once + once


def test_next_works_in_loops_that_change_and_clear_what_they_walk(run_stage):
    body = """
      local t = {}
      for i = 1, 1000 do t["k" .. i] = i end
      local n = 0
      for key, value in next, t do t[key] = value + 1 n = n + 1 end
      assert(n == 1000 and t.k7 == 8)
      for key in next, t do t[key] = nil end
      assert(next(t) == nil)
      for i = 1, 20000 do t[i .. ""] = true end
      local count = 0
      while next(t) do t[next(t)] = nil count = count + 1 end
      assert(count == 20000)
      local queue = { a = 1 }
      for i = 1, 2000 do queue["q" .. i] = i assert(next(queue)) end
      local seen = 0
      for _ in pairs(queue) do seen = seen + 1 end
      assert(seen == 2001)
    """
    assert run_stage(body, cpu_s=5) is None


def test_pairs_honours_a_metamethod_and_next_refuses_a_stranger(run_stage):
    body = """
      local function once(_, key) return not key and 1 or nil end
      local t = setmetatable({}, { __pairs = function() return once end })
      local n = 0
      for _ in pairs(t) do n = n + 1 end
      assert(n == 1)
      assert(not pcall(next, { 1 }, "stranger") and not pcall(pairs, nil))
    """
    assert run_stage(body) is None


def test_each_stage_runs_in_the_child_that_was_opened(open_lua, heard):
    source = "local n = 0 local function s() n = n + 1 log.info(n) end return { {script=s}, {script=s} }"
    script = open_lua(source)
    assert isinstance(script, Script)
    assert [script.run((1,), heard), script.run((2,), heard)] == [None, None]
    assert heard.lines == [1, 2]


def test_an_exception_of_ours_in_a_call_ends_the_child_and_is_raised(open_lua):
    script = open_lua("return { { script = function() pcall(env.get, 1) while true do end end } }")

    def calls(*_):
        raise KeyError("ours")

    with pytest.raises(KeyError, match="ours"):
        script.run((1,), calls)
