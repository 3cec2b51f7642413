-- Remove a letter, or put its message back into its queue as if it had just been published: its letter is gone if, and only if, the
-- message is back. Of two at once, one finds none.
-- KEYS a hash, dead letters   ARGV prefix, id, list (none: remove it)
-- Returns 1 if it was there, 0 if not, or the server's refusal of the message.
local list = ARGV[3]
if list ~= '' then
  local message = redis.call('HGET', letter_key(ARGV[1], ARGV[2]), 'message')
  if not message then return 0 end
  local count, rest = counted(message)
  if not count then return redis.error_reply('it is no JSON object') end
  local done = redis.pcall('LPUSH', ARGV[1] .. list, '{' .. rest)
  if type(done) ~= 'number' then return done end
end
return remove_letter(KEYS[2], ARGV[1], ARGV[2]) and 1 or 0
