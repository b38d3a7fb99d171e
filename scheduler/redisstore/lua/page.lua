-- Reads a page of an index: the tasks whose time is not after now, in its order. Writes
-- nothing.
--
-- KEYS   1 the index
-- ARGV   1 now in ms, 0 to ask for the time
--        2 what the members follow in the names of their tasks
--        3 time and
--        4 member after which the page starts
--        5 how many tasks
-- Result now, the earliest time after now ('' for none), then per task its member, its
--        time, and its record (false where there is none)
-- Bound  O(log of the index + tasks); the caller asks for at most 100
--
-- Learned keys: the tasks, which are only read.

local call, byte = redis.call, string.byte
if #KEYS ~= 1 or #ARGV ~= 5 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local index, now = KEYS[1], tonumber(ARGV[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local afterMS, after, limit = ARGV[3], ARGV[4], tonumber(ARGV[5])

-- notBehind compares as the index does. Lua's own comparison follows the locale that the
-- server was started in.
local function notBehind(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = byte(a, i), byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a <= #b
end

-- Members of the same time are in the order of their bytes: the first behind the one
-- given is found by halving, however many there are.
local low = call('ZCOUNT', index, '-inf', '(' .. afterMS)
if after ~= '' then
  local high = call('ZCOUNT', index, '-inf', afterMS)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if notBehind(call('ZRANGE', index, middle, middle)[1], after) then
      low = middle + 1
    else
      high = middle
    end
  end
end

local found, times, tasks = {}, {}, {}
local entries = limit > 0 and call('ZRANGE', index, low, low + limit - 1, 'WITHSCORES') or {}
for i = 1, #entries, 2 do
  if tonumber(entries[i + 1]) <= now then
    found[#found + 1], times[#times + 1] = entries[i], entries[i + 1]
    tasks[#tasks + 1] = ARGV[2] .. entries[i]
  end
end
local next = call('ZRANGE', index, '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local reply = {now, next[2] or ''}
if #tasks > 0 then
  for i, rec in ipairs(call('MGET', unpack(tasks))) do
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = found[i], times[i], rec
  end
end
return reply
