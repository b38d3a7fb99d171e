-- Holds what is told of a fingerprint to its dead letters, and mends it.
--
-- KEYS   1 the dead letters of the fingerprint
--        2 the queue's fingerprints
-- ARGV   1 the fingerprint
-- Result 1 in a list if it was wrong, else 0
-- Bound  O(log of the dead letters)

local call = redis.call
if #KEYS ~= 2 or #ARGV ~= 1 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local has, want = call('HGET', KEYS[2], ARGV[1]), false
local first = call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if #first > 0 then
  local last = call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')
  want = struct.pack('>I4I6I6', call('ZCARD', KEYS[1]), tonumber(first[2]), tonumber(last[2])) .. last[1]
end
if has == want then
  return {0}
end
if want then
  call('HSET', KEYS[2], ARGV[1], want)
else
  call('HDEL', KEYS[2], ARGV[1])
end
return {1}
