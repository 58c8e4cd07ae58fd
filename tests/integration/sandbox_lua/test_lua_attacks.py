"""What hostile scripts try: each ends as it must, within its limit, with a line where there can be one."""

import time

import pytest

LUA_LIMIT_S = 20.0
"""Far over the limits of these tests: the machine may be busy."""

SPINS = {
    "a plain loop": "while true do end",
    "a loop that catches its end": "while true do pcall(function() while true do end end) end",
    "an error handler that spins": "xpcall(error, function() while true do end end)",
    "a handler that is asked again": "while true do xpcall(function() while true do end end, print) end",
    "a coroutine in a coroutine": (
        "coroutine.wrap(function() coroutine.wrap(function() while true do end end)() end)()"
    ),
    "resuming again and again": (
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end"
    ),
    "a variable that is closed in a loop": (
        "local x <close> = setmetatable({}, { __close = function() while true do end end }) while true do end"
    ),
    "an error value that spins when it is told": (
        "error(setmetatable({}, { __tostring = function() while true do end end }))"
    ),
    "an index that spins": (
        "setmetatable(_G, { __index = function() while true do end end }) local x = nothing"
    ),
    "a coroutine that is closed in a loop": (
        "local co = coroutine.create(function() local x <close> = setmetatable({}, { __close = function()"
        " while true do end end }) coroutine.yield() end) coroutine.resume(co) pcall(coroutine.close, co)"
        " while true do end"
    ),
    "a comparison that spins": "table.sort({ 1, 2, 3 }, function() while true do end end)",
    "a loaded reader that spins": "load(function() while true do end end)",
}


@pytest.mark.parametrize("body", SPINS.values(), ids=SPINS)
def test_what_spins_in_lua_is_ended_with_its_line(run_stage, body):
    begun = time.monotonic()
    failure = run_stage(body, cpu_s=0.2)
    assert (failure.kind, failure.file, failure.line) == ("cpu", "rivet.lua", 2)
    assert failure.message == "the limit of 0.2 s of processor time is used up"
    assert time.monotonic() - begun < LUA_LIMIT_S


PATHOLOGICAL = {
    "backtracking": 'return ("a"):rep(5000):find((".-"):rep(12) .. "b")',
    "a table whose length lies the second time": (
        "local n = 0 local function length() n = n + 1 return n > 1 and 1 << 60 or 1 end"
        ' table.insert(setmetatable({}, { __len = length }), 1, "x")'
    ),
}


@pytest.mark.parametrize("body", PATHOLOGICAL.values(), ids=PATHOLOGICAL)
def test_what_spins_in_one_call_of_c_is_killed(run_stage, body):
    begun = time.monotonic()
    assert run_stage(body, cpu_s=0.2).kind == "cpu"
    assert time.monotonic() - begun < LUA_LIMIT_S


def test_the_wall_limit_ends_what_uses_no_processor_time(run_stage):
    failure = run_stage('("a"):rep(5000):find((".-"):rep(12) .. "b")', cpu_s=20, wall_s=0.3)
    assert (failure.kind, failure.message) == ("wall", "the limit of 0.3 s is over")


HUNGRY = {
    "doubling": 'local s = "x"\nwhile true do s = s .. s end',
    "tables in tables": "local t = {}\nwhile true do t = { t, function() return t end } end",
    "replacing": 'local s = ("x"):rep(1000000)\ns = s:gsub(".", ("y"):rep(100000))',
    "a call's argument": 'local s = 1\nlog.info(("L"):rep(30000000))',
    "coroutines": "local all = {}\nwhile true do all[#all + 1] = coroutine.create(function() end) end",
}


@pytest.mark.parametrize("body", HUNGRY.values(), ids=HUNGRY)
def test_what_eats_memory_is_ended_with_its_line(run_stage, body):
    failure = run_stage(body, cpu_s=10, memory_bytes=16 * 2**20)
    assert (failure.kind, failure.line) == ("memory", 3)
    assert failure.message == "the limit of 16 MiB of memory is used up"


def test_a_deep_stack_of_loaded_code_is_told_soon(run_stage):
    failure = run_stage('load("local function f(n) return 1 + f(n) end f(1)")()')
    assert (failure.kind, failure.message) == ("error", "in loaded code, line 1: stack overflow")


def test_memory_that_was_refused_can_be_survived(run_stage, heard):
    body = 'local ok = pcall(function() local s = "x" while true do s = s .. s end end) log.info(ok)'
    assert run_stage(body) is None
    assert heard.lines == [False]


REFUSED = {
    "a finalizer": ("setmetatable({}, { __gc = function() end })", "finalizers, __gc, are not to be had"),
    "yielding from the script itself": ("coroutine.yield(1)", "attempt to yield from outside a coroutine"),
    "a lying length": (
        "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)",
        "too many elements",
    ),
    "moving without end": ("table.move({}, 1, 1 << 62, 2)", "too many elements to move"),
    "joining without end": (
        'table.concat(setmetatable({}, { __index = function() return "" end }), "", 1, 1 << 60)',
        "too many elements",
    ),
    "an address": ('string.format("%p", {})', "addresses stay in the sandbox"),
    "repeating without end": ('("x"):rep(1 << 40)', "resulting string too large"),
    "deep recursion": ("local function f(n) return 1 + f(n) end f(1)", "stack overflow"),
    "changing a module": ("log.info = print", "module log cannot be changed"),
    "a table that holds itself": ("local t = {} t.t = t log.info(t)", "nested deeper than 30 tables"),
    "too many entries": (
        "local t = {} for i = 1, 2e5 do t[i] = 1 end log.info(t)",
        "more than 99000 entries",
    ),
    "a function as a key": ("log.info({ [print] = 1 })", "a table has a function as a key"),
    "a coroutine that leaves": ("env.get(coroutine.create(print))", "a coroutine cannot leave a script"),
}


@pytest.mark.parametrize(("body", "why"), REFUSED.values(), ids=REFUSED)
def test_what_must_not_be_is_an_error_at_its_line(run_stage, body, why):
    failure = run_stage(body)
    assert (failure.kind, failure.line) == ("error", 2)
    assert why in failure.message


HARMLESS = {
    "nothing of the system is left": """
      for _, name in ipairs { "io", "os", "package", "debug", "python", "require", "dofile", "loadfile",
          "collectgarbage", "warn", "lupa" } do assert(rawget(_G, name) == nil, name) end
      assert(not string.dump and not math.random and not math.randomseed)
    """,
    "no bytecode is loaded": """
      assert(not load("\\27Lua", "x", "t") and not load("\\27LuaT"))
      assert(not pcall(load, "return 1", "x", "b"))
    """,
    "loaded code lives in the script's environment": """
      x = 5
      assert(load("return x")() == 5 and load("return x", "n", "t", { x = 6 })() == 6)
      assert(load("return debug, io, os")() == nil)
    """,
    "metatables are locked": """
      assert(getmetatable("") == false and getmetatable(log) == false)
      assert(not pcall(setmetatable, log, {}))
    """,
    "no address is to be seen": """
      local seen = { tostring({}), tostring(print), tostring(coroutine.create(print)),
        ("%s %s"):format({}, print), tostring(setmetatable({}, { __name = "T" })),
        tostring(select(2, pcall(error, {}))) }
      for _, text in ipairs(seen) do assert(not text:find("%x%x%x%x%x"), text) end
    """,
    "the main coroutine cannot be closed or resumed": """
      local main, is_main = coroutine.running()
      assert(is_main and not coroutine.isyieldable())
      assert(not pcall(coroutine.close, main) and not coroutine.resume(main))
      assert(coroutine.wrap(function() return select(2, coroutine.running()) end)() == false)
    """,
    "deep nesting is refused by the parser": """
      assert(not load("return " .. ("("):rep(200000) .. "1" .. (")"):rep(200000)))
      assert(not load(("do "):rep(100000) .. ("end "):rep(100000)))
    """,
    "the stack is bounded": """
      assert(not pcall(table.unpack, {}, 1, 1e8) and not pcall(string.byte, ("x"):rep(1e7), 1, -1))
      local function g() return coroutine.wrap(g)() end
      assert(not pcall(g))
    """,
    "an empty string is repeated at once": 'assert(("").rep("", 1 << 62) == "")',
    "the environment can be destroyed": """
      local info = log.info
      for k in pairs(string) do string[k] = function() error("x") end end
      for k in next, _G do if k ~= "next" and k ~= "_G" then _G[k] = nil end end
      info("alive")
    """,
    "globals with a hostile index": """
      local function hostile(_, k) error("hostile " .. k) end
      setmetatable(_G, { __index = hostile, __newindex = hostile })
      log.info("alive")
    """,
}


@pytest.mark.parametrize("body", HARMLESS.values(), ids=HARMLESS)
def test_what_is_harmless_goes_on(run_stage, body):
    assert run_stage(body) is None


def test_a_flood_of_lines_is_heard_whole(run_stage, heard):
    body = """
      for i = 1, 20 do log.info(("\\n"):rep(60000)) end
      for i = 1, 30000 do log.info(i) end
    """
    assert run_stage(body, cpu_s=20) is None
    assert len(heard.lines) == 30020
    assert heard.lines[-1] == 30000
