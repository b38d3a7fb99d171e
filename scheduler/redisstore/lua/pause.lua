-- Pauses a queue in a shard, which then knows it, or ends its pause.
--
-- KEYS   1 the queues
--        2 the pauses
-- ARGV   1 the queue, as both name it
--        2 the end of the pause in ms, 0 for none; '' to end it now
-- Result nothing
-- Bound  O(log of the queues)

if #KEYS ~= 2 or #ARGV ~= 2 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
if ARGV[2] == '' then
  if redis.call('HDEL', KEYS[2], ARGV[1]) == 0 and CONFIRMS then
    -- Replicas confirm what is written: it is written that there is none.
    redis.call('HSET', KEYS[2], ARGV[1], 0)
    redis.call('HDEL', KEYS[2], ARGV[1])
  end
else
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
  redis.call('ZADD', KEYS[1], 0, ARGV[1])
end
return {}
