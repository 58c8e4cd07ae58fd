-- Opaque values: what a script holds of a secret. Only names of secrets are in this process, never a value of
-- one; the supervisor puts the values in where an opaque value may be used.

local error, next, setmetatable, type, concat = error, next, setmetatable, type, table.concat

local MOST_PARTS, SHOWN = 1000, "***"
local HOW = "; it can be joined to texts with .. and handed on to fields that take a secret, such as env and stdin of process.run"

local opaque = {}

-- By value: a list of literal texts, and tables with a secret's name at 1.
local parts_of = setmetatable({}, { __mode = "k" })
local metatable = { __metatable = false, __name = "secret" }

function opaque.make(parts)
  local value = setmetatable({}, metatable)
  parts_of[value] = parts
  return value
end

-- The parts of an opaque value; nil of anything else.
function opaque.parts(value)
  return parts_of[value]
end

local function add(parts, part)
  local count = #parts
  if type(part) == "string" and type(parts[count]) == "string" then
    parts[count] = parts[count] .. part
  elseif count == MOST_PARTS then
    error("a value is joined of more than " .. MOST_PARTS .. " secrets and texts", 4)
  else
    parts[count + 1] = part
  end
end

local function add_all(parts, value)
  local more = parts_of[value]
  local kind = type(value)
  if more then
    for at = 1, #more do
      add(parts, more[at])
    end
  elseif kind == "string" or kind == "number" then
    add(parts, "" .. value)
  else
    error("a secret can be joined to texts and numbers, not to a " .. kind, 3)
  end
end

function metatable.__concat(left, right)
  local parts = {}
  add_all(parts, left)
  add_all(parts, right)
  return opaque.make(parts)
end

function metatable.__tostring(value)
  local words, parts = {}, parts_of[value]
  for at = 1, #parts do
    words[at] = type(parts[at]) == "string" and parts[at] or SHOWN
  end
  return concat(words)
end

local REFUSED = {
  __len = "has no length that a script may know",
  __eq = "cannot be compared",
  __lt = "cannot be compared",
  __le = "cannot be compared",
  __call = "is no function",
  __pairs = "is no table",
}
for _, operator in next, { "add", "sub", "mul", "div", "mod", "pow", "unm", "idiv", "band", "bor", "bxor", "bnot", "shl", "shr" } do
  REFUSED["__" .. operator] = "cannot be calculated with"
end
for event, why in next, REFUSED do
  metatable[event] = function()
    error("a secret " .. why .. HOW, 2)
  end
end

function metatable.__index(_, key)
  local asked = type(key) == "string" and " " .. key or ""
  error("a secret is no text: it has no field or method" .. asked .. HOW, 2)
end

function metatable.__newindex()
  error("a secret cannot be changed" .. HOW, 2)
end

return opaque
