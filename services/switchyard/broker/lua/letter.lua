-- Keep a letter whose message is in no hash of unacknowledged ones any more, or in a stock worker's.
-- KEYS a hash, dead letters   ARGV prefix, an id of this call, message, queue, reason, deliveries, then fields and values
if not redis.call('SET', KEYS[2] .. ':once:' .. ARGV[2], 1, 'NX', 'EX', 600) then return end -- its answer was lost
local fields = {}
for i = 7, #ARGV do fields[#fields + 1] = ARGV[i] end
keep_letter(KEYS[2], ARGV[1], at(now), ARGV[3], ARGV[4], ARGV[5], ARGV[6], fields)
