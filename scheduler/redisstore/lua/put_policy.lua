-- Writes a policy if it is at the revision expected.
--
-- KEYS   1 the namespace's policies
-- ARGV   1 the policy's id
--        2 the revision expected, 0: there is none
--        3 the policy: its revision, a blank, and the rest
-- Result 1 in a list if written, else 0
-- Bound  O(1)

if #KEYS ~= 1 or #ARGV ~= 3 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now = redis.call('HGET', KEYS[1], ARGV[1])
if (now and string.match(now, '^%d+') or '0') ~= ARGV[2] then
  return {0}
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return {1}
