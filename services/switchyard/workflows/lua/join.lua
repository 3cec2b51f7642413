-- Claims the callback of a finished attempt, or ends the workflow if it was claimed too often to be bad luck.
-- KEYS: meta, open   ARGV: id, attempt   Returns how often it was claimed, this time included; 0: nothing to call.
local meta, open = KEYS[1], KEYS[2]
local found = redis.call('HMGET', meta, 'state', 'attempt')
if (found[1] ~= 'running' and found[1] ~= 'joining') or found[2] ~= ARGV[2] then return 0 end
local now = redis.call('TIME')[1]
redis.call('HSET', meta, 'state', 'joining', 'updated', now)
redis.call('ZADD', open, now, ARGV[1])
return redis.call('HINCRBY', meta, 'joins', 1)
