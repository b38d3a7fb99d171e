-- Tells tasks as they are, and writes something, so that what replicas confirm next on
-- this connection is of no earlier moment.
--
-- KEYS   the tasks
-- ARGV   none
-- Result per task its record, nothing where there is no such task
-- Bound  O(tasks); the caller sends at most 100

if #KEYS == 0 or #ARGV ~= 0 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local records = redis.call('MGET', unpack(KEYS))
for i, rec in ipairs(records) do
  if rec then
    redis.call('SETRANGE', KEYS[i], 0, string.sub(rec, 1, 1))
    break
  end
end
return records
