-- Holds what a shard has of a group together, and its counts to the tasks that there are,
-- if nothing has changed in the group while they were counted; mends both.
--
-- KEYS   1 the groups
--        2 the group's counts
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the group, as the groups name it
--        and with tasks counted:
--        3 when the counting began, in ms
--        4 how many are in progress, and
--        5 pending
-- Result 1 if the group was not among the groups, 2 if it was there without counts, else 0;
--        1 if the counts were wrong, else 0; and what they were: in progress, and pending
-- Bound  O(log of the groups)

local call = redis.call
if #KEYS ~= 2 or (#ARGV ~= 2 and #ARGV ~= 5) then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local groups, group, name = KEYS[1], KEYS[2], ARGV[2]
local changed = tonumber(call('ZSCORE', groups, name) or nil)
local was = call('HMGET', group, 't', 'c', 'f', 'i')
local there = call('EXISTS', group) == 1

if there and not changed then
  local now = tonumber(ARGV[1])
  if now == 0 then
    local t = call('TIME')
    now = t[1] * 1000 + math.floor(t[2] / 1000)
  end
  call('ZADD', groups, now, name)
  return {1, 0}
end
if changed and not there then
  call('ZREM', groups, name)
  return {2, 0}
end
if #ARGV == 2 or not changed or changed >= tonumber(ARGV[3]) then
  return {0, 0}
end
local function count(text)
  return math.max(0, tonumber(text or nil) or 0)
end
local i, pending = tonumber(ARGV[4]), tonumber(ARGV[5])
local c, f = count(was[2]), count(was[3])
local t = c + f + i + pending
if tonumber(was[1] or nil) == t and tonumber(was[4] or nil) == i then
  return {0, 0}
end
call('HSET', group, 't', t, 'c', c, 'f', f, 'i', i)
return {0, 1, count(was[4]), (tonumber(was[1] or nil) or 0) - c - f - count(was[4])}
