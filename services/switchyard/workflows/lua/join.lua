-- Claims the callback of a finished attempt. A claim holds for as long as the callback may take: a second message for the
-- same callback is dropped meanwhile, and the claimer's own message, delivered again, is not.
-- KEYS: meta, open   ARGV: id, attempt, claimer, limit (s)
-- Returns how often the callback was claimed, this time included; 0: nothing to call.
local meta, open = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'state', 'attempt', 'claimer', 'updated')
if (found[1] ~= 'running' and found[1] ~= 'joining') or found[2] ~= ARGV[2] then return 0 end
local now = redis.call('TIME')[1]
if found[1] == 'joining' and found[3] ~= ARGV[3] and now - found[4] < tonumber(ARGV[4]) then return 0 end
redis.call('HSET', meta, 'state', 'joining', 'claimer', ARGV[3], 'updated', now)
redis.call('ZADD', open, now, ARGV[1])
return redis.call('HINCRBY', meta, 'joins', 1)
