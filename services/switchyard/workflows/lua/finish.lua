-- Ends a workflow once: the first end of the current attempt stays, be it that somebody has cancelled it.
-- KEYS: meta, open   ARGV: id, attempt ('' for any), state, result, reason, expires (s)
local meta, open = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'state', 'attempt')
if not found[1] or found[1] == 'done' or found[1] == 'failed' or found[1] == 'cancelled' then return 0 end
if ARGV[2] ~= '' and found[2] ~= ARGV[2] then return 0 end
redis.call('HSET', meta, 'state', ARGV[3], 'result', ARGV[4], 'reason', ARGV[5], 'updated', redis.call('TIME')[1])
redis.call('ZREM', open, ARGV[1])
redis.call('EXPIRE', meta, ARGV[6])
return 1
