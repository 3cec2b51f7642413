-- Removes from the outbox what was published, but not what was put there anew since.
-- KEYS: outbox   ARGV: id, its score when it was read, ...
for i = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if score and tonumber(score) == tonumber(ARGV[i + 1]) then redis.call('ZREM', KEYS[1], ARGV[i]) end
end
