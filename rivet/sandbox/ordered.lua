-- Deterministic traversal: numbers ascending, then strings by their bytes, then booleans, then other keys
-- by type, by what they hold, and by when they were first seen. Lua's own order changes from start to start.

local raw_next, rawget, rawlen, type, sort, error = next, rawget, rawlen, type, table.sort, error
local getinfo, getmetatable, setmetatable, tostring = debug.getinfo, debug.getmetatable, setmetatable, tostring
local huge, select, concat = math.huge, select, table.concat

local ordered = {}

local RANK = { boolean = 1, ["function"] = 2, table = 3, thread = 4, userdata = 5 }
local SMALL = 64

local serials, last_serial = setmetatable({}, { __mode = "k" }), 0

local SCALAR = { string = true, number = true, boolean = true }

-- What can be said of a key without its address.
local function likeness(key)
  local kind = type(key)
  if kind == "boolean" then
    return tostring(key)
  elseif kind == "function" then
    local info = getinfo(key, "S")
    return info.short_src .. ":" .. info.linedefined
  elseif kind ~= "table" then
    return ""
  end
  local words = {}
  for name, value in raw_next, key do
    if SCALAR[type(name)] and SCALAR[type(value)] then
      words[#words + 1] = tostring(name) .. "=" .. tostring(value)
    end
  end
  sort(words)
  return concat(words, ",", 1, #words < 8 and #words or 8)
end

local function sort_others(others, count)
  if count < 2 then
    return
  end
  local known, likenesses = {}, {}
  for at = 1, count do
    local key = others[at]
    known[key] = serials[key] or huge
    likenesses[key] = likeness(key)
  end
  sort(others, function(a, b)
    local rank_a, rank_b = RANK[type(a)], RANK[type(b)]
    if rank_a ~= rank_b then
      return rank_a < rank_b
    elseif known[a] ~= known[b] then
      return known[a] < known[b]
    end
    return likenesses[a] < likenesses[b]
  end)
  for at = 1, count do
    local key = others[at]
    if type(key) ~= "boolean" and not serials[key] then
      last_serial = last_serial + 1
      serials[key] = last_serial
    end
  end
end

-- A table's keys in order, their number, and whether they are 1, 2, … without a gap.
function ordered.keys(subject)
  local keys, strings, others = {}, nil, nil
  local count, string_count, other_count, last, ascending = 0, 0, 0, -huge, true
  for key in raw_next, subject do
    local kind = type(key)
    if kind == "number" then
      count = count + 1
      keys[count] = key
      ascending = ascending and key > last
      last = key
    elseif kind == "string" then
      strings = strings or {}
      string_count = string_count + 1
      strings[string_count] = key
    else
      others = others or {}
      other_count = other_count + 1
      others[other_count] = key
    end
  end
  if not ascending then
    sort(keys)
  end
  local sequence = string_count + other_count == 0 and (count == 0 or keys[1] == 1 and keys[count] == count)
  if strings then
    sort(strings)
    for at = 1, string_count do
      keys[count + at] = strings[at]
    end
    count = count + string_count
  end
  if others then
    sort_others(others, other_count)
    for at = 1, other_count do
      keys[count + at] = others[at]
    end
    count = count + other_count
  end
  return keys, count, sequence
end

function ordered.pairs(...)
  local subject = ...
  local metatable = getmetatable(subject)
  local own = type(metatable) == "table" and rawget(metatable, "__pairs")
  if own then
    local iterator, state, control = own(subject)
    return iterator, state, control
  end
  if type(subject) ~= "table" then
    local given = select("#", ...) == 0 and "no value" or type(subject)
    error("bad argument #1 to 'pairs' (table expected, got " .. given .. ")", 2)
  end
  local keys, count = ordered.keys(subject)
  local at = 0
  return function()
    while at < count do
      at = at + 1
      local key = keys[at]
      local value = rawget(subject, key)
      if value ~= nil then
        return key, value
      end
    end
    return nil
  end, subject, nil
end

-- `next` works on a snapshot of the keys. One that is asked for again before it was walked once is kept
-- (`stale`: keys may have come since, which are then appended at its end), so that `while next(t) do … end`
-- stays linear; every other traversal begins with a new one.
local snapshots = setmetatable({}, { __mode = "k" })

local function snapshot_of(subject)
  local keys, count = ordered.keys(subject)
  local places = {}
  for at = 1, count do
    places[keys[at]] = at
  end
  local snapshot = { keys = keys, count = count, places = places, first = 1, steps = 0, stale = false }
  snapshots[subject] = snapshot
  return snapshot
end

local function append_new(snapshot, subject)
  local fresh, fresh_count = ordered.keys(subject)
  for at = 1, fresh_count do
    local key = fresh[at]
    if not snapshot.places[key] or snapshot.places[key] < snapshot.first then
      snapshot.count = snapshot.count + 1
      snapshot.keys[snapshot.count] = key
      snapshot.places[key] = snapshot.count
    end
  end
end

local function live_from(snapshot, subject, at)
  while true do
    while at <= snapshot.count do
      local key = snapshot.keys[at]
      local value = rawget(subject, key)
      if value ~= nil and snapshot.places[key] == at then
        return at, key, value
      end
      at = at + 1
    end
    if not snapshot.stale then
      return at, nil
    end
    local before = snapshot.count
    append_new(snapshot, subject)
    if snapshot.count == before then
      return at, nil
    end
  end
end

function ordered.next(subject, key)
  if type(subject) ~= "table" or raw_next(subject) == nil then
    return raw_next(subject)
  end
  local snapshot = snapshots[subject]
  local value
  if key == nil then
    if not snapshot or snapshot.count <= SMALL or snapshot.steps >= snapshot.count then
      snapshot = snapshot_of(subject)
    else
      snapshot.stale = true
    end
    snapshot.steps = snapshot.steps + 1
    snapshot.first, key, value = live_from(snapshot, subject, snapshot.first)
    return key, value
  end
  local at = snapshot and snapshot.places[key]
  if not at then
    snapshot = snapshot_of(subject)
    at = snapshot.places[key]
    if not at then
      error("bad argument #2 to 'next' (a key that the table does not have)", 2)
    end
  end
  snapshot.steps = snapshot.steps + 1
  at, key, value = live_from(snapshot, subject, at + 1)
  return key, value
end

return ordered
