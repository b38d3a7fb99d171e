-- Puts a task into the indexes that it belongs in, and takes it out of those that it does
-- not belong in, if it is still as it was read.
--
-- KEYS   1 the task
--        2... indexes
-- ARGV   1 the version that was read (8 bytes), '' where there was no such task
--        then per index: the task's member, and its time, '' where it does not belong there
-- Result nothing if the task has changed, else per index: 0 it was right, 1 the task was
--        missing, 2 it was there at another time, 3 it was there and should not be
-- Bound  O(indexes * log of each); a task belongs in three at the most

local call = redis.call
if #KEYS < 2 or #ARGV ~= 2 * #KEYS - 1 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
if call('GETRANGE', KEYS[1], 0, 7) ~= ARGV[1] then
  return {}
end
local codes = {}
for i = 2, #KEYS do
  local has, want = call('ZSCORE', KEYS[i], ARGV[2 * i - 2]), ARGV[2 * i - 1]
  local code = 0
  if want == '' then
    code = has and 3 or 0
  elseif not has then
    code = 1
  elseif tonumber(has) ~= tonumber(want) then
    code = 2
  end
  codes[i - 1] = code
end
for i, code in ipairs(codes) do
  if code == 3 then
    call('ZREM', KEYS[i + 1], ARGV[2 * i])
  elseif code ~= 0 then
    call('ZADD', KEYS[i + 1], ARGV[2 * i + 1], ARGV[2 * i])
  end
end
return codes
