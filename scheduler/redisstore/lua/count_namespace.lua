-- Counts what a shard has of some queues of a namespace. Writes nothing.
--
-- KEYS   1 the queues
-- ARGV   1 the namespace, as the queues name it, with the comma behind it
--        2 the name of the last queue that was counted, with a 'q' before it; '' for none
--        3 how many queues to count at the most
-- Result how many of their tasks are SCHEDULED, LEASED or HELD, and how many are LEASED;
--        the bytes that those under way carry, those held, and the dead; and the name of
--        the last queue as in ARGV 2, '' if there are no more
-- Bound  O(queues * log of the queues)
--
-- Learned keys: the indexes and counts of the queues, which are only read.

local call, sub = redis.call, string.sub
if #KEYS ~= 1 or #ARGV ~= 3 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local prefix, namespace, limit = sub(KEYS[1], 1, -7), ARGV[1], tonumber(ARGV[3])
local from = ARGV[2] == '' and '[' .. namespace or '(' .. namespace .. sub(ARGV[2], 2)
-- A dash is what comes next after a comma.
local queues = call('ZRANGE', KEYS[1], from, '(' .. sub(namespace, 1, -2) .. '-', 'BYLEX', 'LIMIT', 0, limit)
local pending, leased, bytes = 0, 0, {0, 0, 0}
for _, queue in ipairs(queues) do
  pending = pending + call('ZCARD', prefix .. 'due:' .. queue) + call('ZCARD', prefix .. 'held:' .. queue)
  leased = leased + (tonumber(call('HGET', prefix .. 'count:' .. queue, 'l') or 0) or 0)
  for i, n in ipairs(call('HMGET', prefix .. 'bytes:' .. queue, 'w', 'h', 'd')) do
    bytes[i] = bytes[i] + (tonumber(n or 0) or 0)
  end
end
local last = #queues == limit and 'q' .. sub(queues[#queues], #namespace + 1) or ''
return {pending, leased, bytes[1], bytes[2], bytes[3], last}
