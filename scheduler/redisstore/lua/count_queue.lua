-- Counts what a shard has of a queue, at one moment. Writes nothing.
--
-- KEYS   1 the queues
--        2 the pauses
--        3 the queue's due index
--        4 its held tasks
--        5 its dead letters
--        6 its counts
--        7... its events, by hour
-- ARGV   1 now in ms
--        2 the queue, as the queues and the pauses name it
--        3 how many kinds of events there are
-- Result nothing where the shard does not know the queue, else the end of its pause (false
--        for none), how many tasks are in the due index, are due, and are leased, the
--        earliest time in the index ('' for none), how many tasks are held, and dead,
--        then per hour its events by kind, false where it had none
-- Bound  O(log of the indexes + hours * kinds)

local call = redis.call
if #KEYS < 6 or #ARGV ~= 3 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now, queue, kinds = ARGV[1], ARGV[2], {}
for i = 1, tonumber(ARGV[3]) do
  kinds[i] = i - 1
end

if not call('ZSCORE', KEYS[1], queue) then
  return {}
end
local reply = {
  call('HGET', KEYS[2], queue),
  call('ZCARD', KEYS[3]),
  call('ZCOUNT', KEYS[3], '-inf', now),
  tonumber(call('HGET', KEYS[6], 'l') or 0),
  call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or '',
  call('ZCARD', KEYS[4]),
  call('ZCARD', KEYS[5]),
}
-- Most queues have events in few hours of a shard, and the last ones at that.
local left = #KEYS > 6 and call('EXISTS', unpack(KEYS, 7)) or 0
for i = #KEYS, 7, -1 do
  reply[i + 1] = left > 0 and call('EXISTS', KEYS[i]) == 1 and call('HMGET', KEYS[i], unpack(kinds))
  left = reply[i + 1] and left - 1 or left
end
return reply
