-- Forgets what a shard counts of a group, if nothing has changed in it since a moment.
-- Otherwise it notes when something has changed in other shards, so that the group comes
-- behind those that may be forgotten.
--
-- KEYS   1 the groups
--        2 the group's counts
-- ARGV   1 the group, as the groups name it
--        2 the moment in ms, or +inf
--        3 the last change in any shard, in ms, 0 where it does not matter
-- Result 1 in a list if it is forgotten, else 0
-- Bound  O(log of the groups)

local call = redis.call
if #KEYS ~= 2 or #ARGV ~= 3 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local groups, group = KEYS[1], ARGV[1]
local before = ARGV[2] == '+inf' and math.huge or tonumber(ARGV[2])
local here, elsewhere = tonumber(call('ZSCORE', groups, group) or 0), tonumber(ARGV[3])
if elsewhere > here then
  call('ZADD', groups, 'XX', elsewhere, group)
end
if math.max(here, elsewhere) >= before then
  return {0}
end
call('ZREM', groups, group)
return {call('UNLINK', KEYS[2])}
