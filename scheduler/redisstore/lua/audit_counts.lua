-- Moves counts of a queue by what they were found to be wrong by: however they have moved
-- since, they are wrong by as much.
--
-- KEYS   1 the counts
--        2 how often counts of the shard were mended
-- ARGV   1 now in ms, 0 to ask for the time
--        2 how often they had been mended when these were looked at: another auditor must not
--          mend the same once more
--        3 what the time must be at least, or else the clock was set back meanwhile, and
--          what was looked at may have changed unseen
--        then per count: its field, and by how much it is moved
-- Result 1 in a list if they are moved, else 0
-- Bound  O(counts)

local call = redis.call
if #KEYS ~= 2 or #ARGV < 5 or #ARGV % 2 == 0 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end
local now = tonumber(ARGV[1])
if now == 0 then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
if (call('GET', KEYS[2]) or '0') ~= ARGV[2] or now < tonumber(ARGV[3]) then
  return {0}
end
-- isCount says whether a count is one that can be added to: another would fail the script
-- half-way.
local function isCount(text)
  local n = string.match(text, '^%-?%d+$') and tonumber(text)
  return n and math.abs(n) <= 2 ^ 53 and string.format('%.0f', n + 0) == text
end

call('HLEN', KEYS[1])
if not isCount(ARGV[2]) then
  call('SET', KEYS[2], 0)
end
call('INCR', KEYS[2])
for i = 4, #ARGV, 2 do
  local field = ARGV[i]
  if not isCount(call('HGET', KEYS[1], field) or '0') then
    -- What is no number counted for nothing.
    call('HDEL', KEYS[1], field)
  end
  if call('HINCRBY', KEYS[1], field, ARGV[i + 1]) == 0 then
    call('HDEL', KEYS[1], field)
  end
end
return {1}
