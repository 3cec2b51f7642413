-- Shared: where an unacknowledged entry goes back to, and what is counted and kept of it. After letters.lua.
-- An entry is kombu's own: [message, exchange, routing key] as JSON. Messages are never decoded and encoded again, which would
-- change them ([] becomes {}); they are only read, and only where priorities or a stock worker's exchange ask for it.

local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
-- Nothing is deleted by this, of whichever hash. A script that has written may go on writing at the server's memory limit, and these must:
-- a lease that is not renewed there would lapse under a living worker.
redis.call('HDEL', KEYS[1], '')

-- Tasks of the core's own: a chunk finds out which of its items kills its workers, and a callback is given up. They count for
-- themselves, and must run to do so.
local OWN = '"task": "switchyard.'

local function at(seconds) return string.format('%.6f', seconds) end

-- The message of an entry, its queue, and the list it goes to; nil for what no queue takes, or what is no entry.
local function home(entry, prefix, sep, steps)
  local message, quoted = string.match(entry, '^%[(.*), "", (".*")%]$')
  local ok, queue = pcall(function() return cjson.decode('[' .. quoted .. ']')[1] end)
  if not ok then -- fetched by kombu's own rules
    local exchange
    message, exchange, queue = string.match(entry, '^%[(.*), "([^"]*)", "([^"]*)"%]$')
    if not message then return nil end
    local found
    for _, binding in ipairs(redis.call('SMEMBERS', prefix .. '_kombu.binding.' .. exchange)) do
      local key, bound = string.match(binding, '^(.-)' .. sep .. '.-' .. sep .. '(.*)$')
      if key == queue then found = bound end
    end
    if not found then return message, nil end
    queue = found
  end
  local step = 0
  if steps ~= '0' then
    local ok, priority = pcall(function() return tonumber(cjson.decode(entry)[1].properties.priority) end)
    for s in string.gmatch(steps, '%d+') do
      if ok and priority and tonumber(s) <= priority then step = tonumber(s) end
    end
  end
  return message, queue, prefix .. queue .. (step > 0 and sep .. step or '')
end

-- How often a message was lost, and the rest of it. The count is in front of what kombu has written, which ignores it.
local function counted(message)
  local count, rest = string.match(message, '^{"x%-deliveries": (%d+), (.*)$')
  if count then return tonumber(count), rest end
  if string.sub(message, 1, 1) == '{' then return 0, string.sub(message, 2) end
  return nil -- no JSON object: it can carry no count, and no worker can read it
end

-- Whoever had it is in its tag, until somebody says more: `<host>.<pid>.<random>:<number>`.
local function set_aside(letters, prefix, sep, tag, entry, reason, fields)
  local message, queue = home(entry, prefix, sep, '0')
  fields = fields or {}
  if #fields == 0 then fields = {'worker', string.match(tag, '^(.*)%.%x+:%d+$') or ''} end
  keep_letter(letters, prefix, at(now), message or entry, queue or '', reason, message and counted(message) or 0, fields)
end

-- Give a message back as it is; what its list does not take is set aside.
local function give_back(letters, prefix, sep, tag, entry, message, list)
  local done = redis.pcall('RPUSH', list, message)
  if type(done) ~= 'number' then
    set_aside(letters, prefix, sep, tag, entry, 'it could not be put back: ' .. tostring(done.err))
  end
end

-- Put a message back that was lost with its worker: counted, or set aside when it was lost too often. Says which.
local function put_back(command, letters, prefix, sep, steps, most, tag, entry)
  local message, queue, list = home(entry, prefix, sep, steps)
  local count, rest
  if message then count, rest = counted(message) end
  if not message then
    set_aside(letters, prefix, sep, tag, entry, 'what was fetched is no message')
  elseif not queue then
    set_aside(letters, prefix, sep, tag, entry, 'no queue is bound to its exchange any more')
  elseif not count then
    set_aside(letters, prefix, sep, tag, entry, 'it is no JSON object')
  elseif count + 1 >= tonumber(most) and not string.find(message, OWN, 1, true) then
    set_aside(letters, prefix, sep, tag, entry, (command == 'LPUSH' and 'its process was lost, or it was given back, ' or 'its worker was lost ')
      .. (count + 1) .. ' times')
  else
    local done = redis.pcall(command, list, '{"x-deliveries": ' .. (count + 1) .. ', ' .. rest)
    if type(done) == 'number' then return true end
    -- No list, or none of this user's: the others are not to wait for it.
    set_aside(letters, prefix, sep, tag, entry, 'it could not be put back: ' .. tostring(done.err))
  end
  return false
end
