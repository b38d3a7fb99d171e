-- Holds what a shard tells of a queue to the queue's indexes, mends it, and returns what
-- is counted of the queue.
--
-- KEYS   1 the queue's due index
--        2 its held tasks
--        3 its dead letters
--        4 its counts
--        5 heads
--        6 queues
--        7 how often counts of the shard were mended
--        8 the bytes that its tasks carry
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the queue, as heads and queues name it
-- Result now; what was wrong with its head: 0 nothing, 1 it was missing, 2 it was another,
--        3 it should not be there; 1 if the queue was not among the queues and should be,
--        else 0; how many tasks its due index has; how often counts were mended; and its
--        counts, as a list of fields and values, false where they are too many; how many
--        tasks are held, and dead; and the bytes that the tasks of each of the three carry,
--        false where there are none
-- Bound  O(log of the indexes + counts), of which there is one an hour, and 1,000 at the most

local call = redis.call
if #KEYS ~= 8 or #ARGV ~= 2 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local due, held, dead, counts, heads, queues, mended, bytes = unpack(KEYS)
local now, name = tonumber(ARGV[1]), ARGV[2]
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

-- all returns the counts.
local function all()
  if call('HLEN', counts) > 1000 then
    return false
  end
  local out, cursor = {}, '0'
  repeat
    local part = call('HSCAN', counts, cursor, 'COUNT', 1000)
    cursor = part[1]
    for _, text in ipairs(part[2]) do
      out[#out + 1] = text
    end
  until cursor == '0'
  return out
end

local want, has = call('ZRANGE', due, 0, 0, 'WITHSCORES')[2], call('ZSCORE', heads, name)
local reply = {
  now, 0, 0, call('ZCARD', due), call('GET', mended) or '0', all(),
  call('ZCARD', held), call('ZCARD', dead), call('HMGET', bytes, 'w', 'h', 'd'),
}
if call('EXISTS', due, held, dead) > 0 and not call('ZSCORE', queues, name) then
  reply[3] = 1
end
if want and not has then
  reply[2] = 1
elseif want and tonumber(want) ~= tonumber(has) then
  reply[2] = 2
elseif has and not want then
  reply[2] = 3
end

if reply[2] == 3 then
  call('ZREM', heads, name)
elseif reply[2] ~= 0 then
  call('ZADD', heads, want, name)
end
if reply[3] == 1 then
  call('ZADD', queues, 0, name)
end
return reply
