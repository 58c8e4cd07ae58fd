-- What the cases call, in Rivet's own words. Nothing is caught here: an error of a module passes as it is. What
-- goes wrong in these lines themselves is the harness's fault, and is counted as `invalid`.

local next, type, setmetatable, rawget = next, type, setmetatable, rawget
local real = { process = process, env = env, git = git, http = http, cache = cache, artifacts = artifacts }
local variables, kept_paths = {}, { "." }

-- The real module in front, with some functions in other clothes. It can be changed as little as the real one.
local function dressed(module, own)
  return setmetatable({}, {
    __metatable = false,
    __index = function(_, key)
      local found = own[key]
      if found ~= nil then
        return found
      end
      return module[key]
    end,
    __newindex = function(_, key, value)
      module[key] = value
    end,
  })
end

-- A copy of the one table that a call takes, so that fields can be added; anything else goes on as it came.
local function with(asked, added)
  if type(asked) ~= "table" then
    return asked
  end
  local fields = {}
  for key, value in next, asked do
    fields[key] = value
  end
  for key, value in next, added do
    if fields[key] == nil then
      fields[key] = value
    end
  end
  return fields
end

local function ask_process(call, asked)
  local fields = with(asked, { capture = true, check = false })
  if type(fields) == "table" and next(variables) and (fields.env == nil or type(fields.env) == "table") then
    fields.env = with(fields.env or {}, variables)
  end
  return call(fields)
end

process = dressed(real.process, {
  run = function(asked)
    local ended = ask_process(real.process.run, asked)
    ended.code = ended.exit_code
    return ended
  end,
})

env = dressed(real.env, {
  set = function(name, value)
    real.process.run({ command = "true", env = { [name] = value }, check = false })
    variables[name] = value
  end,
  get = function(name, ...)
    if type(name) == "string" and variables[name] ~= nil then
      return variables[name]
    end
    return real.env.get(name, ...)
  end,
})

git = dressed(real.git, {
  clone = function(asked)
    if type(asked) == "table" and rawget(asked, "ref") ~= nil then
      asked = with(asked, { branch = asked.ref })
      asked.ref = nil
    end
    return real.git.clone(asked)
  end,
})

http = dressed(real.http, {
  get = function(url, options)
    if type(options) == "table" then
      return real.http.get(with(options, { url = url }))
    end
    return real.http.get(url)
  end,
})

cache = dressed(real.cache, {
  save = function(key, paths)
    if type(paths) == "table" and #paths < 1000 then
      kept_paths = paths
    end
    return real.cache.save({ key = key, paths = paths })
  end,
  restore = function(key)
    return real.cache.restore({ key = key, paths = kept_paths })
  end,
})

artifacts = dressed(real.artifacts, {
  upload = function(name, path)
    return real.artifacts.upload({ name = name, path = path })
  end,
})

function stage(name, body)
  return log.group(name, body)
end

-- Rivet has no `collectgarbage`: whoever wants a collection gets one by making garbage.
function collectgarbage()
  for _ = 1, 20000 do
    local _ = {}
  end
  return 0
end
