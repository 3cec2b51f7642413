-- Opens a workflow's record, or takes over one whose starter was lost before any chunk went out.
-- KEYS: meta, open, index   ARGV: id, starter, expires (s), then field, value, ... for a new record
-- Returns the state found before ('' if none), and the each and callback it was opened with.
local meta, open, index = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'state', 'each', 'callback')
local state = found[1] or ''
if state == '' or state == 'waiting' or state == 'starting' then
  local now = redis.call('TIME')[1]
  local fields = {'state', 'starting', 'starter', ARGV[2], 'updated', now}
  if state == '' then table.insert(fields, 'created'); table.insert(fields, now) end
  for i = 4, #ARGV do table.insert(fields, ARGV[i]) end
  redis.call('HSET', meta, unpack(fields))
  redis.call('HSETNX', meta, 'attempt', 1)
  redis.call('EXPIRE', meta, ARGV[3])
  if state == '' then
    redis.call('ZADD', index, now, ARGV[1])
    redis.call('ZREMRANGEBYSCORE', index, '-inf', now - ARGV[3])
  end
  redis.call('ZADD', open, now, ARGV[1])
end
return {state, found[2] or '', found[3] or ''}
