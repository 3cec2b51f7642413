-- Opens the next attempt of a workflow that has ended: what has failed is forgotten and runs again, every other result stays.
-- It goes into the outbox, so that somebody publishes it, whatever becomes of the caller.
-- KEYS: meta, items, failed, deliveries, open, outbox, wake; the keys of results follow from the meta's: there is one server
-- ARGV: id, the state and the attempt that it was seen in, expires (s), 1 to have its task fan out again, 2 if the caller publishes that
-- Returns 'opened', 'moved' (somebody was faster) or 'expired' (a part of what it needs has).
local meta, items, failed, deliveries, open, outbox, wake = unpack(KEYS)
local id, expires = ARGV[1], ARGV[4]
local found = redis.call('HMGET', meta, 'state', 'attempt', 'done', 'total', 'chunks', 'chunk_size')
if found[1] ~= ARGV[2] or found[2] ~= ARGV[3] then return 'moved' end
local time = redis.call('TIME')
local fields = {'attempt', found[2] + 1, 'updated', time[1], 'result', '', 'reason', ''}

local function set(...)
  for _, each in ipairs({...}) do table.insert(fields, each) end
end

if ARGV[5] ~= '0' then
  redis.call('DEL', items)
  -- As if it had never begun: by now it may fan out otherwise.
  redis.call('HDEL', meta, 'each', 'callback', 'chunk_size', 'concurrency', 'chosen', 'stream')
  set('state', 'waiting')
else
  local chunks, size, there = tonumber(found[5]), tonumber(found[6]), 0
  for chunk = 0, chunks - 1 do there = there + redis.call('HLEN', meta .. ':results:' .. chunk) end
  -- Results expire chunk by chunk: with one missing, its items would run again though they have not failed.
  if there ~= tonumber(found[3]) or (chunks > 0 and redis.call('EXISTS', items) == 0) then return 'expired' end
  local indices = redis.call('ZRANGE', failed, 0, -1)
  local at = 1
  while at <= #indices do
    -- Chunk by chunk, and not more at a time than a call takes: nobody else is served meanwhile.
    local chunk, results, begins = math.floor(indices[at] / size), {}, {}
    while at <= #indices and #results < 1000 and math.floor(indices[at] / size) == chunk do
      table.insert(results, indices[at])
      table.insert(begins, 'item:' .. indices[at])
      at = at + 1
    end
    redis.call('HDEL', meta .. ':results:' .. chunk, unpack(results))
    redis.call('HDEL', deliveries, chunk, 'cause:' .. chunk, unpack(begins))
  end
  redis.call('DEL', failed)
  redis.call('HDEL', deliveries, 'cause:callback')
  for chunk = 0, chunks - 1 do redis.call('EXPIRE', meta .. ':results:' .. chunk, expires) end
  redis.call('EXPIRE', items, expires)
  redis.call('EXPIRE', deliveries, expires)
  set('state', 'running', 'done', there - #indices, 'failed', 0, 'joins', 0, 'published', 0)
end
redis.call('HDEL', meta, 'claimer', 'starter')
redis.call('HSET', meta, unpack(fields))
redis.call('EXPIRE', meta, expires)
redis.call('ZADD', open, time[1], id)
if ARGV[5] ~= '2' then
  redis.call('ZADD', outbox, time[1] .. '.' .. string.format('%06d', time[2]), id)
  redis.call('LPUSH', wake, 1)
  redis.call('LTRIM', wake, 0, 0)
end
return 'opened'
