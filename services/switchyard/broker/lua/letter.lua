-- Keep a letter whose message is in no hash of unacknowledged ones any more, or in a stock worker's.
-- KEYS a hash, dead letters   ARGV prefix, message, queue, reason, deliveries, then fields and values
local fields = {}
for i = 6, #ARGV do fields[#fields + 1] = ARGV[i] end
keep_letter(KEYS[2], ARGV[1], at(now), ARGV[2], ARGV[3], ARGV[4], ARGV[5], fields)
