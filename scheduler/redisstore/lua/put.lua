-- Writes a policy or a job, or removes a job, if all that it rests on is as expected.
--
-- KEYS   1 the namespace's policies
--        2 its jobs, and under '' their mark, which rises with every write of one
-- ARGV   1 which of the two it is written to: 1 or 2
--        2 the id
--        3 the revision expected, 0: there is none
--        4 what is written: its revision, a blank, and the rest; '' to remove it
--        5 the mark expected, '' for any
--        then per policy that it rests on: its id, and the revision expected
-- Result 1 in a list if written, else 0
-- Bound  O(policies named); a job names at most as many as it has environments, and one

local call = redis.call
if #KEYS ~= 2 or #ARGV < 5 or #ARGV % 2 == 0 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end

-- isAt says whether what is kept under an id is at a revision.
local function isAt(key, id, revision)
  local kept = call('HGET', key, id)
  return (kept and string.match(kept, '^%d+') or '0') == revision
end

local to = KEYS[tonumber(ARGV[1])]
if not isAt(to, ARGV[2], ARGV[3]) or (ARGV[5] ~= '' and not isAt(KEYS[2], '', ARGV[5])) then
  return {0}
end
for i = 6, #ARGV, 2 do
  if not isAt(KEYS[1], ARGV[i], ARGV[i + 1]) then
    return {0}
  end
end
if ARGV[4] ~= '' then
  call('HSET', to, ARGV[2], ARGV[4])
elseif call('HDEL', to, ARGV[2]) == 0 then
  return {0}
end
if to == KEYS[2] then
  call('HINCRBY', to, '', 1)
end
return {1}
