-- Reads a page of an index, in its order. Writes nothing.
--
-- Three scripts are made of this file. With WITH_RECORDS, one reads the tasks whose time is
-- not after now; one reads the same of the first HEAD bytes of each, where that is not 0;
-- and without, one reads the places alone, of whatever time.
--
-- KEYS   1 the index
-- ARGV   1 time and
--        2 member after which the page starts
--        3 how many
--        and with records:
--        4 now in ms, 0 to ask for the time
--        5 what the members follow in the names of their tasks
-- Result with records: now, the earliest time after now ('' for none), then per task its
--        member, its time, and its record (false where there is none), or the head of it
--        without: how many places follow the page, then per place its member and its time
-- Bound  O(log of the index + page); the caller asks for at most 100 tasks, 1,000 places
--
-- Learned keys: the tasks, which are only read.

local call, byte = redis.call, string.byte
if #KEYS ~= 1 or #ARGV ~= (WITH_RECORDS and 5 or 3) then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local index = KEYS[1]
local afterMS, after, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])

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
local entries = limit > 0 and call('ZRANGE', index, low, low + limit - 1, 'WITHSCORES') or {}

if not WITH_RECORDS then
  return {call('ZCARD', index) - low - #entries / 2, unpack(entries)}
end

local now = tonumber(ARGV[4])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local found, times, tasks = {}, {}, {}
for i = 1, #entries, 2 do
  if tonumber(entries[i + 1]) <= now then
    found[#found + 1], times[#times + 1] = entries[i], entries[i + 1]
    tasks[#tasks + 1] = ARGV[5] .. entries[i]
  end
end
local next = call('ZRANGE', index, '(' .. string.format('%.0f', now), '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local reply = {now, next[2] or ''}
if HEAD > 0 then
  for i, task in ipairs(tasks) do
    local rec = redis.pcall('GETRANGE', task, 0, HEAD - 1)
    if type(rec) == 'table' then
      if not string.find(rec.err, 'WRONGTYPE', 1, true) then
        return rec
      end
      rec = false
    end
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = found[i], times[i], rec
  end
elseif #tasks > 0 then
  for i, rec in ipairs(call('MGET', unpack(tasks))) do
    local n = #reply
    reply[n + 1], reply[n + 2], reply[n + 3] = found[i], times[i], rec
  end
end
return reply
