-- Keeps a replica's note for a while, and returns the notes of all replicas.
--
-- KEYS   1 the notes, by replica: each until when it is kept in ms, a blank, and the note
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the replica
--        3 for how long its note is kept in ms, 0 to drop it
--        4 the note
-- Result a list of replicas, each with its note behind it
-- Bound  O(replicas that have kept a note of late)

local call = redis.call
if #KEYS ~= 1 or #ARGV ~= 4 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now, keep = tonumber(ARGV[1]), tonumber(ARGV[3])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local kept = call('HGETALL', KEYS[1])
local reply, gone = {}, {}
for i = 1, #kept, 2 do
  local ends, note = string.match(kept[i + 1], '^(%d+) (.*)$')
  if kept[i] ~= ARGV[2] then
    if ends and tonumber(ends) > now then
      reply[#reply + 1], reply[#reply + 2] = kept[i], note
    else
      gone[#gone + 1] = kept[i]
    end
  end
end
if keep > 0 then
  reply[#reply + 1], reply[#reply + 2] = ARGV[2], ARGV[4]
  call('HSET', KEYS[1], ARGV[2], string.format('%.0f ', now + keep) .. ARGV[4])
  if not explicit then
    -- Nothing is left behind by the last replica that goes.
    call('PEXPIRE', KEYS[1], keep)
  end
else
  gone[#gone + 1] = ARGV[2]
end
for from = 1, #gone, 100 do
  call('HDEL', KEYS[1], unpack(gone, from, math.min(from + 99, #gone)))
end
return reply
