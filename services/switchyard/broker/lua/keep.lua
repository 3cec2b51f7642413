-- Renew a worker's leases, note that it lives, give back what was delayed and is due, and put back what others have lost.
-- KEYS unacked, index, dead letters, clock, workers, delayed (tag -> due), their entries, how many of each queue, revoked
-- ARGV prefix, separator, priority steps, most deliveries, lease, visibility timeout, how many at most, worker,
--      what it says of itself, 1 to forget workers that are gone, how many tags it only expects, these, and those it has
-- Returns how many went back, how many were set aside, the tags that it has no more, and milliseconds until the next is due.
local lease, shift = tonumber(ARGV[5]), ARGV[5] - ARGV[6]
-- Those of a fetch that has not come yet may have no entry; any other that has none is another worker's by now.
local lapsed = {}
for i = 12, #ARGV do
  if redis.call('ZADD', KEYS[2], 'XX', 'CH', at(now + shift), ARGV[i]) == 0 and i > 11 + ARGV[11]
    and not redis.call('ZSCORE', KEYS[2], ARGV[i]) then
    lapsed[#lapsed + 1] = ARGV[i]
  end
end
redis.call('HSET', KEYS[5], ARGV[8], at(now) .. ' ' .. ARGV[9])
if ARGV[10] == '1' then
  local all = redis.call('HGETALL', KEYS[5])
  for i = 1, #all, 2 do
    local noted = tonumber(string.match(all[i + 1], '^%S+'))
    if not noted or noted < now - 3 * lease then redis.call('HDEL', KEYS[5], all[i]) end
  end
end

local first = end_delays(at(now), ARGV[7], KEYS[3], KEYS[6], KEYS[7], KEYS[8], KEYS[9], ARGV[1], ARGV[2], ARGV[3])
local soon = first and math.max(0, math.ceil((first - now) * 1000)) or -1

-- Nobody could renew while the server was down or stopped, or its clock was moved: all leases look old then, also those of
-- workers that live. Until one whole lease has passed without such a gap, nothing is put back.
local clock = redis.call('HMGET', KEYS[4], 'seen', 'since')
local seen, since = tonumber(clock[1] or ''), tonumber(clock[2] or '')
if not seen or not since or now < seen or now - seen > lease / 2 then
  if seen and now < seen then
    -- Set back: what lapses in the distant future lapses one lease from now. Tags with a colon are ours; a stock worker's
    -- entries have the time of their fetch.
    for _, tag in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], at(now + shift + 1), '+inf', 'LIMIT', 0, 10000)) do
      if string.find(tag, ':', 1, true) then redis.call('ZADD', KEYS[2], at(now + shift), tag) end
    end
  end
  since = now
end
redis.call('HSET', KEYS[4], 'seen', at(now), 'since', at(since))
if now - since < lease then return {0, 0, lapsed, soon} end

local back, aside = 0, 0
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', at(now - ARGV[6]), 'LIMIT', 0, ARGV[7])
for i = #gone, 1, -1 do -- the oldest last, which is the next to be fetched
  local entry = redis.call('HGET', KEYS[1], gone[i])
  if entry then
    if put_back('RPUSH', KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], gone[i], entry) then back = back + 1
    else aside = aside + 1 end
    redis.call('HDEL', KEYS[1], gone[i])
  end
  redis.call('ZREM', KEYS[2], gone[i])
end
return {back, aside, lapsed, soon}
