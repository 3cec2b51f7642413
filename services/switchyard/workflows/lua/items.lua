-- Stores chunks of items, and with the last of them lets the chunks run. Only the newest starter may: an older one was
-- taken for lost, and two lists of items must not mix.
-- KEYS: meta, items, open   ARGV: id, starter, expires (s), items in a chunk, total ('' unless these are the last), chunks,
-- (chunk, items)...
local meta, items, open = KEYS[1], KEYS[2], KEYS[3]
local found = redis.call('HMGET', meta, 'state', 'starter')
if found[1] ~= 'starting' or found[2] ~= ARGV[2] then return 0 end
for i = 7, #ARGV, 2 do redis.call('HSET', items, ARGV[i], ARGV[i + 1]) end
local now = redis.call('TIME')[1]
redis.call('HSET', meta, 'updated', now)
if ARGV[5] ~= '' then
  redis.call('HSET', meta, 'state', 'running', 'total', ARGV[5], 'chunks', ARGV[6], 'chunk_size', ARGV[4])
end
redis.call('ZADD', open, now, ARGV[1])
redis.call('EXPIRE', meta, ARGV[3])
redis.call('EXPIRE', items, ARGV[3])
return 1
