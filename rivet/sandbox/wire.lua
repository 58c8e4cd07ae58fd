-- Frames over standard input and output: four bytes of length, then one typed value (`frames.py` has the
-- same encoding). Only raw access is used, so that nothing of a script's is called on the way.

local ordered, opaque = ...

local concat, rawget, rawlen, type, unpack, pack = table.concat, rawget, rawlen, type, string.unpack, string.pack
local error, tostring, math_type, getinfo, exit = error, tostring, math.type, debug.getinfo, os.exit
local setmetatable, rawequal = setmetatable, rawequal
local stdin, stdout = io.stdin, io.stdout
local read, write, flush = stdin.read, stdout.write, stdout.flush

local MAX_DEPTH, MAX_ENTRIES = 31, 99000
-- Room is left for what stands around a value.
local AROUND = 4096
local frame_bytes = 8 * 1024 * 1024

local wire = {}

-- What stands for the null of JSON where a table has to hold it.
wire.null = setmetatable({}, {
  __metatable = false,
  __name = "json.null",
  __newindex = function()
    error("json.null cannot be changed", 2)
  end,
  __tostring = function()
    return "null"
  end,
})

local null = wire.null

-- Tables that are lists though they are empty, and those that only mean something within this script.
local arrays, handles = setmetatable({}, { __mode = "k" }), setmetatable({}, { __mode = "k" })

function wire.mark_array(subject)
  arrays[subject] = true
  return subject
end

function wire.mark_handle(subject)
  handles[subject] = true
  return subject
end

local function place(state, depth)
  local words = {}
  for at = 1, depth do
    local key = state.path[at]
    words[at] = type(key) == "string" and "." .. key or "[" .. tostring(key) .. "]"
  end
  return concat(words)
end

local function refuse(state, depth, what)
  local where = place(state, depth)
  error(what .. (where ~= "" and " (at " .. where .. ")" or ""), 0)
end

local function put(state, bytes)
  state.bytes = state.bytes + #bytes
  if state.bytes > frame_bytes - AROUND then
    local size = frame_bytes // 1024
    size = size % 1024 == 0 and size // 1024 .. " MiB" or size .. " KiB"
    refuse(state, 0, "a value is larger than " .. size .. ", which is the most that can leave a script")
  end
  state.count = state.count + 1
  state[state.count] = bytes
end

-- An opaque value: its literal texts, and for each secret its name.
local function encode_opaque(state, parts)
  state.entries = state.entries + #parts
  put(state, pack("<c1I4", "O", #parts))
  for at = 1, #parts do
    local part = parts[at]
    put(state, type(part) == "string" and pack("<c1s4", "S", part) or pack("<c1s4", "R", part[1]))
  end
end

function wire.bound(bytes)
  frame_bytes = bytes
end

local encode

local function encode_table(state, value, depth)
  if depth >= MAX_DEPTH then
    state.path[8] = "..."
    refuse(state, 8, "a table is nested deeper than 30 tables, or holds itself")
  end
  if handles[value] then
    refuse(state, depth, "a handle cannot leave a script")
  end
  local keys, count, sequence = ordered.keys(value)
  state.entries = state.entries + count
  if state.entries > MAX_ENTRIES then
    refuse(state, depth, "a value has more than 99000 entries, which is the most that can leave a script")
  end
  if sequence and (count > 0 or arrays[value]) then
    put(state, pack("<c1I4", "L", count))
    for at = 1, count do
      state.path[depth + 1] = at
      encode(state, rawget(value, at), depth + 1)
    end
    return
  end
  put(state, pack("<c1I4", "M", count))
  for at = 1, count do
    local key = keys[at]
    local kind = type(key)
    if kind ~= "string" and kind ~= "number" then
      refuse(state, depth, "a table has a " .. kind .. " as a key; texts and numbers are allowed")
    end
    state.path[depth + 1] = key
    encode(state, key, depth + 1)
    encode(state, rawget(value, key), depth + 1)
  end
end

function encode(state, value, depth)
  local kind = type(value)
  if kind == "string" then
    put(state, pack("<c1s4", "S", value))
  elseif kind == "number" then
    put(state, math_type(value) == "integer" and pack("<c1i8", "I", value) or pack("<c1d", "D", value))
  elseif kind == "boolean" then
    put(state, value and "T" or "F")
  elseif kind == "nil" or rawequal(value, null) then
    put(state, "N")
  elseif kind == "table" then
    local parts = opaque.parts(value)
    if parts then
      encode_opaque(state, parts)
    else
      encode_table(state, value, depth)
    end
  elseif kind == "function" then
    local line = getinfo(value, "S").linedefined
    put(state, pack("<c1I4", "X", line > 0 and line or 0))
  else
    refuse(state, depth, "a " .. (kind == "thread" and "coroutine" or kind) .. " cannot leave a script")
  end
end

-- A value's bytes, and how many entries its tables have; raises a text where it is none that can be sent.
function wire.encoded(value)
  local state = { bytes = 0, count = 0, entries = 0, path = {} }
  encode(state, value, 0)
  return concat(state, "", 1, state.count), state.entries
end

-- The bytes of a list of `count` values that were encoded before. Nils in it keep their place.
function wire.list(values, count)
  return pack("<c1I4", "L", count) .. concat(values, "", 1, count)
end

function wire.encoded_arguments(arguments, count)
  local state = { bytes = 0, count = 0, entries = count, path = {} }
  put(state, pack("<c1I4", "L", count))
  for at = 1, count do
    state.path[1] = at
    encode(state, rawget(arguments, at), 1)
  end
  return concat(state, "", 1, state.count), state.entries
end

local function decode_opaque(body, at)
  local parts, count, tag, text = {}, nil, nil, nil
  count, at = unpack("<I4", body, at)
  for index = 1, count do
    tag, text, at = unpack("<c1s4", body, at)
    parts[index] = tag == "S" and text or { text }
  end
  return opaque.make(parts), at
end

local function decode(body, at)
  local tag
  tag, at = unpack("<c1", body, at)
  if tag == "S" then
    return unpack("<s4", body, at)
  elseif tag == "I" then
    return unpack("<i8", body, at)
  elseif tag == "D" then
    return unpack("<d", body, at)
  elseif tag == "T" then
    return true, at
  elseif tag == "F" then
    return false, at
  elseif tag == "N" then
    return nil, at
  elseif tag == "Z" then
    return null, at
  elseif tag == "O" then
    return decode_opaque(body, at)
  end
  local value, count, key = {}, nil, nil
  if tag == "L" then
    arrays[value] = true
  end
  count, at = unpack("<I4", body, at)
  for index = 1, count do
    if tag == "L" then
      key = index
    else
      key, at = decode(body, at)
    end
    value[key], at = decode(body, at)
  end
  return value, at
end

-- Send a frame. Where nobody listens any more the process ends.
function wire.send(body)
  if not (write(stdout, pack("<I4", #body), body) and flush(stdout)) then
    exit(0)
  end
end

-- Wait for a frame and give its value. Where the supervisor is gone the process ends.
function wire.receive()
  local head = read(stdin, 4)
  local body = head and read(stdin, (unpack("<I4", head)))
  if not body then
    exit(0)
  end
  return (decode(body, 1))
end

return wire
