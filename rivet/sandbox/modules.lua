-- The modules as a script sees them: each function sends its arguments as they are and gives back what the
-- supervisor answers. All checking happens there. While a file is being evaluated every call is refused.

local side = ...
local env, opening, wire, ordered, guard = side.env, side.opening, side.wire, side.ordered, side.guard
local fail_at_caller, flush, phase, say, text_of = side.fail_at_caller, side.flush, side.phase, side.say, side.text_of

local concat, error, pack, pcall, rawget, select, setmetatable, type =
  table.concat, error, table.pack, pcall, rawget, select, setmetatable, type
local next, pack_text, find, match, rawequal, unpack = next, string.pack, string.find, string.match, rawequal, table.unpack

local MOST_SHORT = 65536

local modules = {}
local functions, constants = {}, opening.values
-- What is not known yet when `stages` is resolved at a run's start, and so must not be read there later either.
local of_running = opening.running_values

local function refuse_now(title)
  if phase() == "resolving" then
    fail_at_caller(title .. " may not be used here: what `stages` says may depend on `input` and `run` alone")
  end
  fail_at_caller(
    title .. " may not be used while the pipeline is being defined: modules work inside a stage's script"
  )
end

local function encoded_arguments(title, ...)
  local ok, bytes, entries = pcall(wire.encoded_arguments, pack(...), select("#", ...))
  guard()
  if not ok and bytes == "not enough memory" then
    error(bytes, 0)
  elseif not ok then
    fail_at_caller(title .. ": " .. bytes)
  end
  return bytes, entries
end

local function make_oneway(module, name)
  local title = module .. "." .. name
  local head = "L\3\0\0\0" .. wire.encoded(module) .. wire.encoded(name)
  local head_of_one = head .. "L\1\0\0\0S"
  return function(...)
    if phase() ~= "running" then
      refuse_now(title)
    end
    local text = ...
    if select("#", ...) == 1 and type(text) == "string" and #text < MOST_SHORT then
      return say(head_of_one .. pack_text("<s4", text), 1)
    end
    local bytes, entries = encoded_arguments(title, ...)
    say(head .. bytes, entries)
  end
end

local function make_call(module, name, shown_as)
  local title = shown_as or module .. "." .. name
  local head = wire.encoded("call") .. wire.encoded(module) .. wire.encoded(name)
  return function(...)
    if phase() ~= "running" then
      refuse_now(title)
    end
    local bytes = encoded_arguments(title, ...)
    flush()
    wire.send("L\4\0\0\0" .. head .. bytes)
    local answer = wire.receive()
    if answer.refused then
      fail_at_caller(answer.refused)
    end
    return answer.value
  end
end

-- Objects that stand for a number of the supervisor's, by which their methods call it.
local numbers = setmetatable({}, { __mode = "k" })

local function kind_of_handle(module, name)
  local methods = {}
  for full in next, opening.modules[module] do
    local method = match(full, "^" .. name .. ":(.+)$")
    if method then
      local title = "h:" .. method
      local ask = make_call(module, full, title)
      methods[method] = function(handle, ...)
        local held = handle ~= nil and numbers[handle]
        if not held or held.methods ~= methods then
          fail_at_caller(title .. ": takes the handle that it is a method of: write h:" .. method .. "(), with a colon")
        end
        return ask(held.number, ...)
      end
    end
  end
  return methods, {
    __metatable = false,
    __name = module .. "." .. name,
    __newindex = function()
      fail_at_caller("a handle of " .. module .. "." .. name .. " cannot be changed")
    end,
    __index = function(_, key)
      if methods[key] == nil then
        fail_at_caller("a handle of " .. module .. "." .. name .. " has no method " .. text_of(key))
      end
      return methods[key]
    end,
  }
end

local function make_handle(module, name)
  local ask = make_call(module, name)
  local methods, metatable = kind_of_handle(module, name)
  return function(...)
    local number = ask(...)
    local handle = wire.mark_handle(setmetatable({}, metatable))
    numbers[handle] = { number = number, methods = methods }
    return handle
  end
end

-- The arguments without the function among them: the last one, or the field `fn` of a table.
local function without_body(title, ...)
  local arguments = pack(...)
  local last = arguments[arguments.n]
  if arguments.n == 1 and type(last) == "table" then
    local fields = {}
    for key, value in next, last do
      if key ~= "fn" then
        fields[key] = value
      end
    end
    arguments[1], last = fields, rawget(last, "fn")
  else
    arguments.n = arguments.n - 1
  end
  if type(last) ~= "function" then
    fail_at_caller(title .. ": fn: expected a function, given " .. (last == nil and "nothing" or "a " .. type(last)))
  end
  return last, unpack(arguments, 1, arguments.n)
end

local function make_around(module, name)
  local title = module .. "." .. name
  local begin, finish = make_call(module, name), make_call(module, name .. ":end")
  local function around(body, ...)
    local number = begin(...)
    local ending <close> = setmetatable({}, {
      __close = function()
        finish(number)
      end,
    })
    return body()
  end
  return function(...)
    if phase() ~= "running" then
      refuse_now(title)
    end
    return around(without_body(title, ...))
  end
end

local own_work = {}

own_work["json.array"] = function(subject)
  if subject == nil then
    subject = {}
  end
  local _, _, sequence = ordered.keys(type(subject) == "table" and subject or {})
  if type(subject) ~= "table" or not sequence then
    local given = type(subject) == "table" and "a table with other keys, or with gaps (json.null fills one)"
      or "a " .. type(subject)
    fail_at_caller("json.array: table: expected a table with the keys 1, 2, ... or none, given " .. given)
  end
  return wire.mark_array(subject)
end

local function make_local(module, name)
  local title = module .. "." .. name
  local work = own_work[title]
  return function(...)
    if phase() ~= "running" then
      refuse_now(title)
    end
    return work(...)
  end
end

local makers = { call = make_call, oneway = make_oneway, handle = make_handle, around = make_around, ["local"] = make_local }

local function listed(names)
  local known = ordered.keys(names)
  return concat(known, ", ")
end

-- A module is an empty table in front of its functions and constants, so that it cannot be changed.
local function proxy(module)
  local own, fixed = functions[module], constants[module]
  local reads_run = module == "run" or module == "matrix" or fixed and module ~= "input"
  return setmetatable({}, {
    __metatable = false,
    __name = "module " .. module,
    __newindex = function()
      fail_at_caller("module " .. module .. " cannot be changed")
    end,
    __index = function(_, key)
      local found = own[key]
      if rawequal(found, wire.null) and phase() ~= "running" then
        refuse_now("json.null")
      elseif found ~= nil then
        return found
      elseif reads_run then
        if phase() == "defining" or phase() == "resolving" and module ~= "run" then
          refuse_now(module .. "." .. text_of(key))
        end
        local known = phase() == "running" and of_running[module]
        if known and known[key] ~= nil then
          return known[key]
        end
        return fixed and fixed[key]
      end
      fail_at_caller("module " .. module .. " has no function " .. text_of(key) .. "; it has " .. listed(own))
    end,
  })
end

-- `input` from the values that came with the script: the only way to read while `stages` is resolved, and
-- later for what the supervisor has no function for.
local function read_locally(values, asked)
  local function named(title, name)
    if type(name) == "table" then
      name = rawget(name, "name")
    end
    if type(name) ~= "string" then
      local given = name == nil and "nothing" or "a " .. type(name)
      fail_at_caller(title .. ": name: expected a text, given " .. given)
    end
    return values[name]
  end

  local readers = {}

  function readers.get(name, default)
    local value = named("input.get", name)
    if value ~= nil then
      return value
    end
    return type(name) == "table" and rawget(name, "default") or default
  end

  function readers.require(name)
    local value = named("input.require", name)
    if value == nil then
      fail_at_caller("input.require: this run has no input " .. text_of(type(name) == "table" and name.name or name))
    end
    return value
  end

  function readers.has(name)
    return named("input.has", name) ~= nil
  end

  function readers.all()
    local copy = {}
    for name, value in next, values do
      copy[name] = value
    end
    return copy
  end

  for name, reader in next, readers do
    local call = asked[name]
    asked[name] = function(...)
      local now = phase()
      if now == "running" and call then
        return call(...)
      elseif now ~= "running" and now ~= "resolving" then
        refuse_now("input." .. name)
      end
      return reader(...)
    end
  end
end

for module, names in next, opening.modules do
  local own = {}
  for name, kind in next, names do
    if not find(name, ":", 1, true) then
      own[name] = makers[kind](module, name)
    end
  end
  if module == "json" then
    own.null = wire.null
  end
  functions[module] = own
end
for module in next, constants do
  functions[module] = functions[module] or {}
end
if constants.input then
  read_locally(constants.input, functions.input)
end
for module in next, functions do
  env[module] = proxy(module)
end

modules.helper = setmetatable({}, {
  __index = {
    define = function(definition)
      return definition
    end,
  },
})
env.pipeline = modules.helper

local info = functions.log and functions.log.info
function env.print(...)
  local words = pack(...)
  for at = 1, words.n do
    words[at] = text_of(words[at])
  end
  local line = concat(words, "\t", 1, words.n)
  if info then
    info(line)
  elseif phase() ~= "running" then
    refuse_now("print")
  end
end

return modules
