-- Records results of a chunk's items: the first result of an item stays, so a chunk that runs twice counts once.
-- KEYS: meta, results, failed, open, items, deliveries, seconds per item of each task
-- ARGV: id, attempt, expires (s), chunk, the items' task, the seconds that one of these took, (index, ok, result)...
-- Of a workflow that has ended nothing is recorded any more.
-- Returns 'gone', 'stale' (another attempt), or the state with done and total.
local meta, results, failed, open, items, deliveries = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local seconds = KEYS[7]
local found = redis.call('HMGET', meta, 'state', 'attempt', 'total')
if not found[1] then return {'gone', 0, 0} end
if found[2] ~= ARGV[2] then return {'stale', 0, 0} end
if found[1] ~= 'running' and found[1] ~= 'joining' then return {found[1], 0, 0} end
local done, bad = 0, 0
for i = 7, #ARGV, 3 do
  if redis.call('HSETNX', results, ARGV[i], ARGV[i + 2]) == 1 then
    done = done + 1
    if ARGV[i + 1] == '0' then
      bad = bad + 1
      redis.call('ZADD', failed, ARGV[i], ARGV[i])
    end
  end
end
local all = redis.call('HINCRBY', meta, 'done', done)
if bad > 0 then redis.call('HINCRBY', meta, 'failed', bad) end
if done > 0 then
  local now = redis.call('TIME')[1]
  redis.call('HSET', meta, 'updated', now)
  if found[1] == 'running' then redis.call('ZADD', open, now, ARGV[1]) end
  -- Deliveries are counted since the last progress: a chunk that gets on is not taken for one that kills its workers.
  redis.call('HDEL', deliveries, ARGV[4], 'cause:' .. ARGV[4])
  if tonumber(ARGV[6]) > 0 then
    -- What comes later counts more: of 50 ms that become 5 s, little is left after ten records.
    local before = tonumber(redis.call('HGET', seconds, ARGV[5]) or ARGV[6])
    redis.call('HSET', seconds, ARGV[5], string.format('%.6f', 0.7 * before + 0.3 * ARGV[6]))
  end
  for _, key in ipairs({meta, results, failed, items, deliveries, seconds}) do redis.call('EXPIRE', key, ARGV[3]) end
end
return {found[1], all, tonumber(found[3])}
