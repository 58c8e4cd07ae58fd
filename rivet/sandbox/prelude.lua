-- The Lua side of a script's life: answer the supervisor's frames, evaluate the file, run its stages, and
-- tell every end with file, line and which limit. It runs before anything of a script's and keeps what is
-- dangerous (io, debug, os) to itself.

local part = ...
local ordered, wire = part.ordered, part.wire

local clock, error, getinfo, load, pcall, rawget, rawlen = os.clock, error, debug.getinfo, load, pcall, rawget, rawlen
local resume, create, running, status, sethook = coroutine.resume, coroutine.create, coroutine.running, coroutine.status, debug.sethook
local select, setmetatable, tostring, type, concat, pack = select, setmetatable, tostring, type, table.concat, table.pack
local rawset, getmetatable, collectgarbage = rawset, debug.getmetatable, collectgarbage
local sub, find, match, format, tonumber = string.sub, string.find, string.match, string.format, tonumber

local OURS = "=(rivet)"
local INSTRUCTIONS = 10000
local MOST_SAID_BYTES, MOST_SAID_ENTRIES, MOST_SAID_S = 60000, 20000, 0.008
local MOST_TEXT, MOST_LEVELS, MOST_WALKED = 16384, 20, 1000

local opening = wire.receive()
local source_name = "@" .. opening.filename
local short_name = match(opening.filename, "^[^\n]*")
local cpu_s = opening.cpu_s
part.wire.bound(opening.frame)

local stopped, main, phase = nil, nil, "defining"

-- Let go of when memory is out, so that there is some to say so with.
local ballast = string.rep("-", 64 * 1024)

-- What was said one way and has not been sent yet.
local said, said_count, said_bytes, said_entries, said_at = {}, 1, 0, 0, 0

-- True while that is being changed. The hook may come between any two instructions: it would send a second
-- time what is just being sent, or lose what is just being added.
local saying = false

local function flush_said()
  saying = true
  if said_count > 1 then
    said[1] = "S\4\0\0\0said"
    wire.send(wire.list(said, said_count))
    said, said_count, said_bytes, said_entries = {}, 1, 0, 0
  end
  said_at = clock()
  saying = false
end

-- The nearest line of the script's, from a level of the stack of `thread` on (nil: the running one). With
-- `of_file` only the file's own count, without it loaded code's too.
local function line_of(thread, level, of_file)
  for level = level, MOST_WALKED do
    local info
    if thread then
      info = getinfo(thread, level, "Sl")
    else
      info = getinfo(level + 1, "Sl")
    end
    if not info then
      return nil
    elseif info.source == source_name or not of_file and info.source ~= OURS and info.what ~= "C" then
      return info.currentline, info.short_src
    end
  end
end

local function fail_at_caller(message)
  local line, file = line_of(nil, 2)
  error(line and file .. ":" .. line .. ": " .. message or message, 0)
end

local function guard(...)
  if stopped then
    error(stopped.message, 0)
  end
  return ...
end

local function hook()
  if saying then
    return
  end
  local now = clock()
  if now > cpu_s and not stopped then
    stopped = {
      kind = "cpu",
      message = format("the limit of %g s of processor time is used up", cpu_s),
      line = (line_of(nil, 2, true)),
    }
  end
  if stopped then
    error(stopped.message, 0)
  end
  if said_count > 1 and now - said_at > MOST_SAID_S then
    flush_said()
  end
end

local function watch(thread)
  sethook(thread, hook, "", INSTRUCTIONS)
  return thread
end

local basics = part.basics(ordered, guard)
local env = basics.environment(watch, function(thread)
  return thread == main
end)
local text_of = basics.text_of

local function shown(value)
  local kind = type(value)
  if kind == "string" then
    return format("%q", #value > 200 and sub(value, 1, 200) .. "..." or value)
  elseif kind == "number" or kind == "boolean" then
    return tostring(value)
  end
  return kind
end

-- An error value that is no text, as a sentence.
local function told(value)
  if value == nil then
    return "the script raised nil: error was called without a message"
  elseif type(value) ~= "table" then
    return "the script raised a " .. type(value) .. " as its error: " .. shown(value)
  end
  local message = rawget(value, "message")
  if type(message) == "string" then
    return message
  end
  local words = {}
  local keys, count = ordered.keys(value)
  for at = 1, count < 8 and count or 8 do
    words[at] = (type(keys[at]) == "string" and keys[at] or "[" .. shown(keys[at]) .. "]")
      .. " = " .. shown(rawget(value, keys[at]))
  end
  if count > 8 then
    words[9] = "..."
  end
  return "the script raised a table as its error: {" .. concat(words, ", ") .. "}"
end

-- A text without the place that Lua writes before it, and that place where it is the script's own.
local function split_place(message)
  local before, line, rest = match(message, "^([^\n]-):(%d+): (.*)$")
  if not before then
    return message
  elseif before == short_name or sub(before, 1, 3) == "..." and sub(short_name, 3 - #before) == sub(before, 4) then
    return rest, tonumber(line)
  elseif before == "(rivet)" then
    return rest
  elseif sub(before, 1, 8) == "[string " or before == "(load)" then
    return "in loaded code, line " .. line .. ": " .. rest
  end
  return message
end

local function traceback(thread)
  local levels = {}
  for level = 0, MOST_WALKED do
    local info = getinfo(thread, level, "Sln")
    if not info or #levels == MOST_LEVELS then
      break
    elseif info.source ~= OURS and info.what ~= "C" and info.currentline > 0 then
      local within = info.what == "main" and "the file" or info.name and "function '" .. info.name .. "'"
        or "the function at line " .. info.linedefined
      levels[#levels + 1] = info.short_src .. ":" .. info.currentline .. ": in " .. within
    end
  end
  return levels
end

local function send_failure(failure)
  if #failure.message > MOST_TEXT then
    failure.message = sub(failure.message, 1, MOST_TEXT) .. "... (cut)"
  end
  wire.send(wire.list({ wire.encoded("failed"), wire.encoded(failure) }, 2))
end

local supervise

-- What became of a thread that ended with an error, for the supervisor.
local function failure_of(thread, value)
  if stopped then
    return { kind = stopped.kind, message = stopped.message, line = stopped.line, traceback = traceback(thread) }
  end
  local message, line = value, nil
  if type(value) == "table" then
    local metatable = getmetatable(value)
    if type(metatable) == "table" and rawget(metatable, "__tostring") then
      local ok, text = supervise(text_of, value)
      if stopped then
        return failure_of(thread, value)
      end
      message = ok and text or value
    end
  end
  if message == "not enough memory" then
    ballast = nil
    collectgarbage()
    return {
      kind = "memory",
      message = format("the limit of %d MiB of memory is used up", opening.memory // 1048576),
      line = (line_of(thread, 0, true)),
      traceback = traceback(thread),
    }
  end
  if type(message) == "string" then
    message, line = split_place(message)
  else
    message = told(message)
  end
  return {
    kind = "error",
    message = message,
    line = line or (line_of(thread, 0, true)),
    traceback = traceback(thread),
  }
end

-- Run a function of the script's to its end in a coroutine of its own: whether it got there, and its result
-- or the failure.
function supervise(body, ...)
  local before = main
  local thread = create(body)
  main = thread
  watch(thread)
  local ok, value = resume(thread, ...)
  main = before
  if ok and status(thread) == "dead" and not stopped then
    return true, value
  elseif ok then
    value = "attempt to yield from outside a coroutine"
  end
  return false, failure_of(thread, value)
end

local modules = part.modules({
  env = env,
  opening = opening,
  wire = wire,
  ordered = ordered,
  text_of = text_of,
  fail_at_caller = fail_at_caller,
  guard = guard,
  flush = flush_said,
  phase = function()
    return phase
  end,
  say = function(entry, entries)
    if #entry + said_bytes > MOST_SAID_BYTES or entries + said_entries > MOST_SAID_ENTRIES then
      flush_said()
    end
    saying = true
    said_count = said_count + 1
    said[said_count] = entry
    said_bytes, said_entries = said_bytes + #entry, said_entries + entries + 4
    saying = false
    if said_bytes > MOST_SAID_BYTES or clock() - said_at > MOST_SAID_S then
      flush_said()
    end
  end,
})

local function end_with(failure)
  flush_said()
  send_failure(failure)
end

local function evaluate()
  local chunk, problem = load(opening.source, source_name, "t", env)
  opening.source = nil
  if not chunk then
    local message, line = split_place(problem)
    local kind = find(problem, "not enough memory", 1, true) and "memory" or "syntax"
    return false, { kind = kind, message = message, line = line, traceback = {} }
  end
  local ok, table_or_failure = supervise(chunk)
  if not ok then
    return false, table_or_failure
  end
  local definition = table_or_failure
  if definition == nil then
    definition = rawget(env, "pipeline")
    if definition == modules.helper then
      definition = nil
    end
  end
  if opening.resolve and type(definition) == "table" and type(rawget(definition, "stages")) == "function" then
    phase = "resolving"
    local stages
    ok, stages = supervise(rawget(definition, "stages"))
    if not ok then
      return false, stages
    end
    rawset(definition, "stages", stages)
  end
  local turn = opening.resolve and type(definition) == "table" and rawget(definition, "concurrency")
  if type(turn) == "table" and type(rawget(turn, "group")) == "function" then
    phase = "resolving"
    local group
    ok, group = supervise(rawget(turn, "group"))
    if not ok then
      return false, group
    end
    rawset(turn, "group", group)
  end
  return true, definition
end

-- The script of the stage at a path, or the function there where its value is asked for.
local function find_function(path, gives)
  local value = part.definition
  for at = 1, #path do
    value = type(value) == "table" and rawget(value, path[at]) or nil
  end
  if gives then
    return value
  end
  return type(value) == "table" and rawget(value, "script") or nil
end

local function send_given(value)
  local encoded, bytes = pcall(wire.encoded, value)
  if not encoded then
    return end_with({ kind = "error", message = "the function gave what cannot be read: " .. bytes, traceback = {} })
  end
  flush_said()
  wire.send(wire.list({ wire.encoded("gave"), bytes }, 2))
end

-- Nothing that a script could find by some way is left under its usual name.
local globals = _G
for name in next, globals do
  globals[name] = nil
end

local ok, definition = evaluate()
if not ok then
  return end_with(definition)
end
local encoded, bytes = pcall(wire.encoded, definition)
if not encoded then
  return end_with({ kind = "error", message = "the pipeline cannot be read: " .. bytes, traceback = {} })
end
part.definition = definition
phase = "waiting"
wire.send(wire.list({ wire.encoded("table"), bytes }, 2))

while true do
  local asked = wire.receive()
  local script = find_function(asked.path, asked.gives)
  if type(script) ~= "function" then
    send_failure({ kind = "protocol", message = "there is no script at that path", traceback = {} })
  else
    phase = "running"
    local passed, failure = supervise(script)
    phase = "waiting"
    if passed and asked.gives then
      send_given(failure)
    elseif passed then
      flush_said()
      wire.send(wire.list({ wire.encoded("done") }, 1))
    else
      end_with(failure)
    end
  end
end
