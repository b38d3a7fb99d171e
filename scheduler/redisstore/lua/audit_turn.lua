-- Gives a replica the auditor's turn, prolongs it, or takes it back.
--
-- KEYS   1 the turn: when it ends in ms, a blank, and whose it is
-- ARGV   1 now in ms, 0 to ask for the time
--        2 the replica
--        3 for how long in ms, 0 to give it back
-- Result 1 in a list if the replica has the turn, else 0
-- Bound  O(1)

local call = redis.call
if #KEYS ~= 1 or #ARGV ~= 3 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now, hold = tonumber(ARGV[1]), tonumber(ARGV[3])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end

local kept = redis.pcall('GET', KEYS[1])
if type(kept) == 'table' then
  -- It is no turn, but of another type.
  call('UNLINK', KEYS[1])
end
local ends, whose = string.match(type(kept) == 'string' and kept or '', '^(%d+) (.*)$')
if whose and whose ~= ARGV[2] and tonumber(ends) > now then
  return {0}
end
if hold == 0 then
  call('UNLINK', KEYS[1])
  return {0}
end
local turn = string.format('%.0f ', now + hold) .. ARGV[2]
if explicit then
  call('SET', KEYS[1], turn)
else
  call('SET', KEYS[1], turn, 'PX', hold)
end
return {1}
