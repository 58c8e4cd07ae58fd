-- What of Lua itself a script has: the standard library without files, bytecode, randomness and addresses,
-- bounded where a single call could run for hours without an instruction of Lua's.

local ordered, guard = ...

local concat, error, getmetatable, insert, load, move = table.concat, error, debug.getmetatable, table.insert, load, table.move
local pcall, rawget, rawlen, rawset, remove, rep, select = pcall, rawget, rawlen, rawset, table.remove, string.rep, select
local setmetatable, tostring, type, xpcall, format, pack = setmetatable, tostring, type, xpcall, string.format, table.pack
local unpack, find, gsub = table.unpack, string.find, string.gsub
local coroutines = coroutine

local MOST_ELEMENTS, MOST_BYTES = 10000000, 256 * 1024 * 1024

local basics = {}

-- A value as text, never with an address.
local function text_of(...)
  local value = ...
  local metatable = getmetatable(value)
  if type(metatable) == "table" then
    local own = rawget(metatable, "__tostring")
    if own then
      local text = own(value)
      if type(text) ~= "string" then
        error("'__tostring' must return a string", 2)
      end
      return text
    end
    local name = rawget(metatable, "__name")
    if type(name) == "string" and type(value) ~= "string" then
      return name
    end
  end
  local kind = type(value)
  if kind == "table" or kind == "function" or kind == "thread" or kind == "userdata" then
    return kind
  end
  return tostring(...)
end
basics.text_of = text_of

local function copy(library, without)
  local names = {}
  for name, value in next, library do
    if not without[name] then
      names[name] = value
    end
  end
  return names
end

-- A table whose length is what it says may lie; a loop over it would be one call.
local function check_length(subject, name)
  local metatable = getmetatable(subject)
  if type(metatable) == "table" and rawget(metatable, "__len") then
    local length = #subject
    if type(length) ~= "number" or length > MOST_ELEMENTS then
      error("bad argument #1 to '" .. name .. "' (a table says that it has too many elements)", 3)
    end
  end
end

local function strings()
  local library = copy(string, { dump = true })

  function library.rep(...)
    local text, times, between = ...
    if type(text) == "string" and type(times) == "number" and (between == nil or type(between) == "string") then
      local unit = #text + (between and #between or 0)
      if unit == 0 then
        return ""
      elseif times > MOST_BYTES / unit then
        error("resulting string too large", 2)
      end
    end
    return rep(...)
  end

  function library.format(...)
    local arguments = pack(...)
    if type(arguments[1]) == "string" and find(gsub(arguments[1], "%%%%", ""), "%%[-+ #0]*%d*p") then
      error("bad argument #1 to 'format' (%p is not to be had: addresses stay in the sandbox)", 2)
    end
    for at = 2, arguments.n do
      local kind = type(arguments[at])
      if kind ~= "string" and kind ~= "number" and kind ~= "nil" then
        arguments[at] = kind == "boolean" and arguments[at] or text_of(arguments[at])
      end
    end
    return format(unpack(arguments, 1, arguments.n))
  end

  local shared = getmetatable("")
  shared.__index = library
  shared.__metatable = false
  return library
end

local function tables()
  local library = copy(table, {})

  function library.insert(...)
    check_length((...), "insert")
    return insert(...)
  end

  function library.remove(...)
    check_length((...), "remove")
    return remove(...)
  end

  function library.concat(...)
    local subject, _, first, last = ...
    check_length(subject, "concat")
    if type(first) == "number" and type(last) == "number" and last - first > MOST_ELEMENTS then
      error("bad argument #4 to 'concat' (too many elements)", 2)
    end
    return concat(...)
  end

  function library.move(...)
    local _, first, last = ...
    if type(first) == "number" and type(last) == "number" and last - first > MOST_ELEMENTS then
      error("bad argument #3 to 'move' (too many elements to move)", 2)
    end
    return move(...)
  end

  return library
end

local function coroutine_library(watch, is_main)
  local library = {}
  local create, resume, running, yield = coroutines.create, coroutines.resume, coroutines.running, coroutines.yield
  local close, isyieldable, status = coroutines.close, coroutines.isyieldable, coroutines.status

  local function outcome(ok, ...)
    guard()
    if not ok then
      error((...), 0)
    end
    return ...
  end

  function library.create(body)
    if type(body) ~= "function" then
      return create(body)
    end
    return watch(create(body))
  end

  function library.wrap(body)
    if type(body) ~= "function" then
      return create(body)
    end
    local thread = watch(create(body))
    return function(...)
      return outcome(resume(thread, ...))
    end
  end

  function library.resume(...)
    return guard(resume(...))
  end

  function library.close(...)
    return guard(close(...))
  end

  function library.yield(...)
    if is_main(running()) then
      error("attempt to yield from outside a coroutine", 2)
    end
    return guard(yield(...))
  end

  function library.running()
    local thread = running()
    return thread, is_main(thread)
  end

  function library.isyieldable(...)
    return not is_main(... or running()) and isyieldable(...)
  end

  library.status = status
  return library
end

-- The script's globals. `watch` puts the hook on a coroutine, `is_main` knows the one that the script began
-- in, and `guard` raises a limit that was reached again, however often it is caught.
function basics.environment(watch, is_main)
  local env = copy(_G, {
    collectgarbage = true, debug = true, dofile = true, io = true, loadfile = true, os = true, package = true,
    python = true, require = true, warn = true,
  })
  env._G = env
  env.string, env.table, env.utf8 = strings(), tables(), copy(utf8, {})
  env.math = copy(math, { random = true, randomseed = true })
  env.coroutine = coroutine_library(watch, is_main)
  env.tostring, env.pairs, env.next = text_of, ordered.pairs, ordered.next

  function env.tostring(...)
    if select("#", ...) == 0 then
      error("bad argument #1 to 'tostring' (value expected)", 2)
    end
    return text_of(...)
  end

  function env.pcall(...)
    return guard(pcall(...))
  end

  function env.xpcall(body, handler, ...)
    if type(handler) ~= "function" then
      return xpcall(body, handler)
    end
    return guard(xpcall(body, function(problem)
      guard()
      return handler(problem)
    end, ...))
  end

  function env.setmetatable(...)
    local _, metatable = ...
    if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
      error("bad argument #2 to 'setmetatable' (finalizers, __gc, are not to be had in a pipeline)", 2)
    end
    return setmetatable(...)
  end

  function env.load(chunk, name, mode, ...)
    if mode ~= nil and mode ~= "t" and mode ~= "bt" then
      error("bad argument #3 to 'load' (only texts can be loaded, mode \"t\")", 2)
    end
    local chunk_env = env
    if select("#", ...) > 0 then
      chunk_env = ...
    end
    if name == nil and type(chunk) == "string" then
      name = "=(load)"
    end
    return guard(load(chunk, name, "t", chunk_env))
  end

  return env
end

return basics
