-- Take messages and record them as unacknowledged, in one step: no kill can come between. Asking for a list's length also has
-- the server tell this connection, once, when somebody touches that list (CLIENT TRACKING): the doorbell of an idle worker.
-- KEYS unacked, index, list...
-- ARGV score from now, tag prefix, first number, how many, 1 if a suspect may be among them, queue as JSON per list
-- Returns 1 if there is more to fetch, the server's time, then list number and message for each, which have consecutive tags.
local want, number, free = tonumber(ARGV[4]), tonumber(ARGV[3]), ARGV[5] == '1'
local out, index, hash = {0, ''}, {}, {}
for i = 3, #KEYS do
  local left, blocked = redis.call('LLEN', KEYS[i]), false
  if left > 0 and want > 0 then
    local got = redis.call('RPOP', KEYS[i], want)
    left = left - #got
    for j, message in ipairs(got) do
      -- Lost twice or more: it may be what kills its workers. One at a time, so that it takes no other along again and again.
      local lost = tonumber(string.match(message, '^{"x%-deliveries": (%d+), ') or 0)
      if lost >= 2 and not free then
        for k = #got, j, -1 do redis.call('RPUSH', KEYS[i], got[k]) end
        blocked = true
        break
      end
      if lost >= 2 then free = false end
      local tag = ARGV[2] .. number
      index[#index + 1] = tag
      hash[#hash + 1] = tag
      hash[#hash + 1] = '[' .. message .. ', "", ' .. ARGV[3 + i] .. ']'
      out[#out + 1] = i - 3
      out[#out + 1] = message
      number, want = number + 1, want - 1
    end
    -- Our own pop has taken the doorbell away, too.
    if left == 0 or blocked then left = redis.call('LLEN', KEYS[i]) end
  end
  if left > 0 and not blocked then out[1] = 1 end
end
if #index > 0 then
  local t = redis.call('TIME')
  local now = t[1] + t[2] / 1e6
  local score, scored = string.format('%.6f', now + ARGV[1]), {}
  out[2] = string.format('%.6f', now)
  for _, tag in ipairs(index) do
    scored[#scored + 1] = score
    scored[#scored + 1] = tag
  end
  redis.call('HSET', KEYS[1], unpack(hash))
  redis.call('ZADD', KEYS[2], unpack(scored))
end
return out
