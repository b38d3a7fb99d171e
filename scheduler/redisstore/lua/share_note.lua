-- Keeps a replica's note for a while, and returns the notes of all replicas.
--
-- KEYS   1 the notes, by replica
--        2 the replicas, by when their notes end in ms
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the replica
--        3 for how long its note is kept in ms, 0 to drop it
--        4 the note
-- Result a list of replicas, each with its note behind it
-- Bound  O(replicas), of which 1,000 are told

local call = redis.call
if #KEYS ~= 2 or #ARGV ~= 4 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local notes, ends = KEYS[1], KEYS[2]
local now, replica, keep = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

call('HLEN', notes)
if keep > 0 then
  call('ZADD', ends, now + keep, replica)
  call('HSET', notes, replica, ARGV[4])
else
  call('ZADD', ends, 'XX', 0, replica)
end
local gone = call('ZRANGE', ends, '-inf', now, 'BYSCORE', 'LIMIT', 0, 1000)
local live = call('ZRANGE', ends, '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1000)
local reply = {}
if #live > 0 then
  for i, note in ipairs(call('HMGET', notes, unpack(live))) do
    reply[#reply + 1], reply[#reply + 2] = live[i], note or ''
  end
end
if #gone > 0 then
  call('HDEL', notes, unpack(gone))
  call('ZREM', ends, unpack(gone))
end
if keep > 0 and not explicit then
  -- Nothing is left behind by the last replica that goes.
  call('PEXPIRE', notes, keep)
  call('PEXPIRE', ends, keep)
end
return reply
