-- Shared by keep and release: messages that were delayed go back to their queue.

-- Those that are due until then, at most so many; without a key of revoked tasks, none is marked. Returns when the first of the others
-- is due, or nil.
local function end_delays(until_when, most, letters, delayed, entries, counts, revoked, prefix, sep, steps)
  local any_revoked = revoked and redis.call('EXISTS', revoked) == 1
  local due = redis.call('ZRANGEBYSCORE', delayed, '-inf', until_when, 'LIMIT', 0, most)
  for i = #due, 1, -1 do -- the earliest last, which is the next to be fetched
    local entry = redis.call('HGET', entries, due[i])
    if entry then
      local message, queue, list = home(entry, prefix, sep, steps)
      -- One that was revoked says so itself: whoever gets it may not have heard of it.
      if any_revoked then
        local ok, id = pcall(function() return cjson.decode(message).headers.id end)
        if ok and type(id) == 'string' and redis.call('ZREM', revoked, id) == 1 then
          message = '{"x-revoked": true, ' .. string.sub(message, 2)
        end
      end
      give_back(letters, prefix, sep, due[i], entry, message, list)
      if redis.call('HINCRBY', counts, queue, -1) < 1 then redis.call('HDEL', counts, queue) end
      redis.call('HDEL', entries, due[i])
    end
    redis.call('ZREM', delayed, due[i])
  end
  return redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]
end
