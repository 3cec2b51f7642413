-- Ends a workflow as cancelled, whatever it is at, unless it has ended.
-- KEYS: meta, open, outbox   ARGV: id, reason, expires (s)
-- Returns the state found before; '' if there is no such workflow.
local meta, open, outbox = KEYS[1], KEYS[2], KEYS[3]
local state = redis.call('HGET', meta, 'state')
if not state then return '' end
if state == 'done' or state == 'failed' or state == 'cancelled' then return state end
-- First what frees memory: a server at its limit refuses a script's first write, not those that follow.
redis.call('ZREM', outbox, ARGV[1])
redis.call('ZREM', open, ARGV[1])
redis.call('HSET', meta, 'state', 'cancelled', 'reason', ARGV[2], 'updated', redis.call('TIME')[1])
redis.call('EXPIRE', meta, ARGV[3])
return state
