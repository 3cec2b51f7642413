-- Shared: how a dead letter is kept, and how it is removed. Its keys: the sorted set of ids, by when each was kept; beside it the
-- last id that was given, and the sorted set of "<task's id>\0<letter's id>", in which a task's letters stand together; and a hash
-- for each, of whose fields `message` is as it lay in the queue.
local function letter_key(prefix, id) return prefix .. 'switchyard:dead_letter:' .. id end

-- `fields` are names and values in turn. Which task it is, is read from the message where nobody has said so: few are kept like that.
local function keep_letter(letters, prefix, at, message, queue, reason, deliveries, fields)
  local id = string.format('%d', redis.call('INCR', letters .. ':last'))
  local said, task_id = {}, nil
  for i = 1, #fields, 2 do said[fields[i]] = fields[i + 1] end
  if not said.task_id then
    local ok, headers = pcall(function() return cjson.decode(message).headers end)
    for field, name in pairs({task_id = 'id', task = 'task'}) do
      local value = ok and type(headers) == 'table' and headers[name]
      if type(value) == 'string' then said[field] = value end
    end
  end
  local values = {'message', message, 'queue', queue, 'reason', reason, 'deliveries', deliveries, 'at', at}
  for name, value in pairs(said) do
    values[#values + 1] = name
    values[#values + 1] = value
  end
  redis.call('HSET', letter_key(prefix, id), unpack(values))
  redis.call('ZADD', letters, at, id)
  if said.task_id then redis.call('ZADD', letters .. ':tasks', 0, said.task_id .. '\0' .. id) end
end

-- Whether it was there.
local function remove_letter(letters, prefix, id)
  local task_id = redis.call('HGET', letter_key(prefix, id), 'task_id')
  redis.call('DEL', letter_key(prefix, id))
  if task_id then redis.call('ZREM', letters .. ':tasks', task_id .. '\0' .. id) end
  return redis.call('ZREM', letters, id) == 1
end
