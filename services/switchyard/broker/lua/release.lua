-- Give back what was delayed, due or not, at most so many.
-- KEYS unacked, dead letters, delayed (tag -> due), their entries, how many of each queue
-- ARGV prefix, separator, priority steps, how many at most
-- Returns how many are left.
end_delays('+inf', ARGV[4], KEYS[2], KEYS[3], KEYS[4], KEYS[5], nil, ARGV[1], ARGV[2], ARGV[3])
return redis.call('ZCARD', KEYS[3])
