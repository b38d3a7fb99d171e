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
-- count reads a count, 0 where it is none that can be added to.
local function count(text)
  local n = text and string.match(text, '^%d+$') and tonumber(text)
  if not n or n > 2 ^ 53 or string.format('%.0f', n) ~= text then
    return 0
  end
  return n
end
local i, pending = tonumber(ARGV[4]), tonumber(ARGV[5])
local c, f = count(was[2]), count(was[3])
local right = true
local want = {c + f + i + pending, c, f, i}
for n, v in ipairs(want) do
  want[n] = string.format('%.0f', v)
  right = right and (was[n] or '0') == want[n]
end
if right then
  return {0, 0}
end
call('HSET', group, 't', want[1], 'c', want[2], 'f', want[3], 'i', want[4])
return {0, 1, count(was[4]), count(was[1]) - c - f - count(was[4])}
