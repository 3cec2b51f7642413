-- Records workflows as accepted, in groups: of a group all, or none. An event that was accepted before is not recorded again.
-- KEYS: outbox, wake, open, index, then the meta of each event
-- ARGV: expires (s), most in the outbox, number of fields, field names..., then per group: its size, and per event: id, values...
--   The first field is the event's fingerprint.
-- Returns 'full', or per event 1 (accepted), 0 (was accepted before), -1 (another event had this name), -2 (its group was not recorded).
local outbox, wake, open, index = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local expires, most, width = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if redis.call('ZCARD', outbox) >= most then return 'full' end
local time = redis.call('TIME')
local now, precise = time[1], time[1] .. '.' .. string.format('%06d', time[2])
local outcomes, key, arg, accepted = {}, 5, 4 + width, 0
while arg <= #ARGV do
  local size, group, refused = tonumber(ARGV[arg]), {}, false
  arg = arg + 1
  for i = 1, size do
    local at = arg + (i - 1) * (width + 1)
    local found = redis.call('HMGET', KEYS[key + i - 1], 'state', ARGV[4])
    group[i] = found[1] and (found[2] == ARGV[at + 1] and 0 or -1) or 1
    if group[i] == -1 then refused = true end
  end
  for i = 1, size do
    local at, meta = arg + (i - 1) * (width + 1), KEYS[key + i - 1]
    -- Looked at again: the same event may be twice in a group.
    if refused and group[i] == 1 then group[i] = -2
    elseif group[i] == 1 and redis.call('EXISTS', meta) == 1 then group[i] = 0
    elseif group[i] == 1 then
      local id, fields = ARGV[at], {'state', 'waiting', 'attempt', 1, 'created', now, 'updated', now}
      for f = 1, width do table.insert(fields, ARGV[3 + f]); table.insert(fields, ARGV[at + f]) end
      redis.call('HSET', meta, unpack(fields))
      redis.call('EXPIRE', meta, expires)
      redis.call('ZADD', outbox, precise, id)
      redis.call('ZADD', open, now, id)
      redis.call('ZADD', index, precise, id)
      accepted = accepted + 1
    end
    table.insert(outcomes, group[i])
  end
  key, arg = key + size, arg + size * (width + 1)
end
if accepted > 0 then
  redis.call('ZREMRANGEBYSCORE', index, '-inf', now - expires)
  redis.call('LPUSH', wake, 1)
  redis.call('LTRIM', wake, 0, 0)
end
return outcomes
