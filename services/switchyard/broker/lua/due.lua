-- The oldest letters, those beyond the bound or older than that, for somebody to tell and then remove. Changes nothing but who does.
-- KEYS a hash, dead letters
-- ARGV prefix, most, seconds, how many at once, who asks, seconds in which nobody else is told any
local t = redis.call('TIME')
local now = t[1] + t[2] / 1e6
local beyond = redis.call('ZCARD', KEYS[2]) - ARGV[2]
local old = redis.call('ZCOUNT', KEYS[2], '-inf', string.format('%.6f', now - ARGV[3]))
local due = math.min(math.max(beyond, old), tonumber(ARGV[4]))
if due <= 0 then return {} end
redis.call('HDEL', KEYS[1], '') -- as in home.lua: letters go at the memory limit, too
local mine = KEYS[2] .. ':teller'
if redis.call('GET', mine) == ARGV[5] then redis.call('EXPIRE', mine, ARGV[6])
elseif not redis.call('SET', mine, ARGV[5], 'NX', 'EX', ARGV[6]) then return {} end
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, due - 1)) do
  if redis.call('EXISTS', ARGV[1] .. 'switchyard:dead_letter:' .. id) == 1 then found[#found + 1] = id
  else redis.call('ZREM', KEYS[2], id) end -- somebody has removed it by hand
end
return found
