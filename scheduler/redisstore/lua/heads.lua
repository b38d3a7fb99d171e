-- Reads when queues of a shard must next be looked at. Writes nothing.
--
-- KEYS   1 the heads
--        2 the pauses
-- ARGV   1 now in ms, 0 to ask for the time
--        2... the queues, as the heads and the pauses name them
-- Result per queue the earliest time in it, '' for none: while it is paused no earlier
--        than the end of the pause, and '' where that has none
-- Bound  O(queues * log of the heads); the caller names at most 100

local call = redis.call
if #KEYS ~= 2 or #ARGV < 2 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now = tonumber(ARGV[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local heads = call('ZMSCORE', KEYS[1], unpack(ARGV, 2))
local pauses = call('HMGET', KEYS[2], unpack(ARGV, 2))
local reply = {}
for i, head in ipairs(heads) do
  local ends = tonumber(pauses[i] or now)
  if not head or ends == 0 then
    head = ''
  elseif ends > now and ends > tonumber(head) then
    head = pauses[i]
  end
  reply[i] = head
end
return reply
