-- Forgets a queue in a shard if it is not paused there and has none of the keys that show
-- it to be in use. A pause that has passed is forgotten as well.
--
-- KEYS   1 the queues
--        2 the pauses
--        3... what shows it to be in use
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the queue, as the queues and the pauses name it
-- Result nothing
-- Bound  O(keys)

local call = redis.call
if #KEYS < 3 or #ARGV ~= 2 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now = tonumber(ARGV[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local ends = tonumber(call('HGET', KEYS[2], ARGV[2]) or '')
local used = call('EXISTS', unpack(KEYS, 3)) > 0
local paused = ends and (ends == 0 or ends > now)
if ends and not paused then
  call('HDEL', KEYS[2], ARGV[2])
end
if not used and not paused then
  call('ZREM', KEYS[1], ARGV[2])
end
return {}
