-- What became of messages that were fetched, besides being acknowledged. Once per tag: what was settled, or lost to another
-- worker, has no entry any more, so a batch whose answer was lost is simply sent again.
-- KEYS unacked, index, dead letters, delayed (tag -> due), their entries, how many of each queue
-- ARGV prefix, separator, priority steps, most deliveries, then (what, tag, reason, how many details, these: field, value...)...
-- what: head (back, next, uncounted) | tail (back, last, counted: its process was lost) | aside (with the reason)
--       | delay (until the reason's time: keep.lua gives it back then)
local i = 5
while i <= #ARGV do
  local what, tag, reason, details = ARGV[i], ARGV[i + 1], ARGV[i + 2], {}
  for j = i + 4, i + 3 + ARGV[i + 3] do details[#details + 1] = ARGV[j] end
  i = i + 4 + #details
  local entry = redis.call('HGET', KEYS[1], tag)
  if entry then
    local message, queue, list = home(entry, ARGV[1], ARGV[2], ARGV[3])
    if what == 'aside' then
      set_aside(KEYS[3], ARGV[1], ARGV[2], tag, entry, reason, details)
    elseif what == 'head' and queue then
      give_back(KEYS[3], ARGV[1], ARGV[2], tag, entry, message, list)
    elseif what == 'delay' and queue then
      redis.call('HSET', KEYS[5], tag, entry)
      redis.call('ZADD', KEYS[4], reason, tag)
      redis.call('HINCRBY', KEYS[6], queue, 1)
    else
      put_back('LPUSH', KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tag, entry)
    end
    redis.call('HDEL', KEYS[1], tag)
  end
  redis.call('ZREM', KEYS[2], tag)
end
