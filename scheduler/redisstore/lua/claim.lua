-- Moves due tasks to LEASED, for several claims one after the other.
--
-- KEYS   per claim: due index of its queue, heads, paused, counts of the queue, groups, the
--        replica's last claim of the queue and shard (the due index again where it is not
--        kept), and the task (the due index again where the claim is of whatever is due)
-- ARGV   1 now in ms, 0 to ask for the time
--        2 how long a claim is remembered, in ms
--        3 how many bytes of records a claim takes, but for its first task, which it takes
--          however large it is
--        then per claim:
--          its id (8 bytes)
--          its slots: count (2 bytes), length of the lease in ms (6), length of the
--          worker's name (2), the name
--          nonces, 8 bytes each, at least as many as the counts add up to
-- Result now, and per claim: the earliest time left in the index, no earlier than the end
--        of the queue's pause ('' for none, or while it has no end), 1 if the queue is
--        paused, else 0, how many entries of the index were wrong and are mended, then per
--        task its name, its record, and 1 if its lease had expired
-- Bound  O(tasks * log of the index) with at most 100 tasks a claim
--        Little more is read than is taken, since a hundred records may have 12 MB.
--
-- Learned keys: the tasks found in the index and the counts of their groups, each read
-- before the claim's first write. On a Cluster a call has one claim only, so that nothing
-- has been written when a read is refused.

local call, byte, sub, char = redis.call, string.byte, string.sub, string.char
local read, pack = struct.unpack, struct.pack
local FORMAT, SCHEDULED, LEASED = 1, 1, 2
local LIMIT, MOST, FIRST = 100, 4294967295, 4

local now = tonumber(ARGV[1])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local kept = tonumber(ARGV[2])
local budget = tonumber(ARGV[3])
local count = #KEYS / 7
if count < 1 or count ~= math.floor(count) or #ARGV ~= 3 + 3 * count then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end

-- slotsOf takes the slots apart and says how many tasks they hold.
local function slotsOf(packed)
  local slots, room, at = {}, 0, 1
  while at <= #packed do
    local n, lease, length = read('>I2I6I2', packed, at)
    slots[#slots + 1] = {count = n, lease = lease, worker = sub(packed, at + 10, at + 9 + length)}
    room = room + n
    at = at + 10 + length
  end
  return slots, math.min(room, LIMIT)
end

-- due says whether a record is of a task that may be claimed at all, and its time.
local function placed(rec)
  local state = byte(rec, 10)
  return state == SCHEDULED or state == LEASED, read('>I6', rec, 11)
end

-- leased returns the record handed out, its fence, and the name of its group if it was not
-- leased before. queued is the length of the queue's name.
local function leased(rec, slot, nonce, queued)
  local state, at = byte(rec, 10), read('>I6', rec, 11)
  local delivery, expiries, size, flags = read('>I4I4I2B', rec, 23)
  local number, from = 0, 34
  if flags % 2 >= 1 then
    number, from = read('>I8', rec, 34), 50
  end
  local dueMS, group = 0, nil
  if state == SCHEDULED then
    dueMS = at
    local length = byte(rec, 35 + size + queued)
    group = sub(rec, 36 + size + queued, 35 + size + queued + length)
  else
    expiries = expiries + 1
    if flags % 4 >= 2 then
      dueMS = read('>I6', rec, from)
    end
  end
  number = math.max(number + 1, now * 1000)
  local version = math.max(read('>I8', rec, 1) + 1, now * 1000)
  local fence = pack('>I8', number) .. nonce
  local part = fence
  flags = 1
  if dueMS > 0 then
    flags, part = flags + 2, part .. pack('>I6', dueMS)
  end
  if slot.lease > 0 then
    flags, part = flags + 8, part .. pack('>I6', slot.lease)
  end
  if slot.worker ~= '' then
    flags, part = flags + 32, part .. slot.worker
  end
  return pack('>I8BBI6', version, FORMAT, LEASED, now + slot.lease) .. sub(rec, 17, 22) ..
    pack('>I4I4I2', math.min(delivery + 1, MOST), math.min(expiries, MOST), #part + 1) .. char(flags) .. part .. sub(rec, 33 + size), fence, group
end

-- What is kept of a claim is its id (8 bytes), its time (6), and per task its fence (16),
-- the length of its name (2) and the name.

-- again returns the tasks that a claim took and that still carry their fences.
local function again(memory, prefix)
  local tasks, names, fences, at = {}, {}, {}, 15
  while at <= #memory do
    local length = read('>I2', memory, at + 16)
    names[#names + 1] = sub(memory, at + 18, at + 17 + length)
    tasks[#tasks + 1] = prefix .. 't:' .. names[#names]
    fences[#fences + 1] = sub(memory, at, at + 15)
    at = at + 18 + length
  end
  local got = {}
  if #tasks > 0 then
    for i, rec in ipairs(call('MGET', unpack(tasks))) do
      if rec and byte(rec, 9) == FORMAT and byte(rec, 10) == LEASED and byte(rec, 33) % 2 == 1 and sub(rec, 34, 49) == fences[i] then
        got[#got + 1] = {names[i], rec}
      end
    end
    if CONFIRMS and #got > 0 then
      -- See confirm.go.
      call('SETRANGE', prefix .. 't:' .. got[1][1], 0, sub(got[1][2], 1, 1))
    end
  end
  return got
end

-- begun counts the tasks of each group that have come to be in progress. It returns what is
-- to be written: per group its key, its name, and its counts.
local function begun(groups, prefix, namespace)
  local writes = {}
  for group, n in pairs(groups) do
    local key = prefix .. 'group:' .. namespace .. group
    local was = call('HMGET', key, 't', 'c', 'f', 'i')
    local c, f, i = tonumber(was[2] or 0), tonumber(was[3] or 0), tonumber(was[4] or 0) + n
    -- A group that was deleted counts its tasks as if they were new.
    writes[#writes + 1] = {key, namespace .. group, math.max(tonumber(was[1] or 0), c + f + i), c, f, i}
  end
  return writes
end

-- take claims tasks of one queue: names and records are in the order of its index. It
-- returns the records as they are now, and how many entries of the index were wrong.
local function take(keys, prefix, names, records, slots, nonces, memory, id)
  local set, scores, stale, out, took = {}, {}, {}, {}, {}
  local s, left, n, mended = 1, 0, 0, 0
  local fresh, groups = 0, {}
  local start = #prefix + 5
  local comma = string.find(keys.due, ',', start, true)
  local namespace, queued = sub(keys.due, start, comma), #keys.due - comma
  left = slots[1] and slots[1].count or 0
  for i, name in ipairs(names) do
    local rec = records[i]
    local ok, at = false, 0
    if rec then
      ok, at = placed(rec)
    end
    local taskID = sub(name, #namespace + 1)
    if not ok then
      stale[#stale + 1] = taskID
      mended = mended + 1
    elseif at > now then
      scores[#scores + 1], scores[#scores + 2] = at, taskID
      mended = mended + 1
    else
      while left == 0 do
        s = s + 1
        left = slots[s].count
      end
      left = left - 1
      local new, fence, group = leased(rec, slots[s], sub(nonces, n * 8 + 1, n * 8 + 8), queued)
      n = n + 1
      out[n] = {name, new, not group and 1 or nil}
      set[#set + 1], set[#set + 2] = prefix .. 't:' .. name, new
      scores[#scores + 1], scores[#scores + 2] = now + slots[s].lease, taskID
      took[n] = fence .. pack('>I2', #name) .. name
      if group then
        fresh = fresh + 1
        if group ~= '' then
          groups[group] = (groups[group] or 0) + 1
        end
      end
    end
  end
  local counted = begun(groups, prefix, namespace)
  if #set > 0 then
    call('MSET', unpack(set))
  end
  if #scores > 0 then
    call('ZADD', keys.due, 'XX', unpack(scores))
  end
  if #stale > 0 then
    call('ZREM', keys.due, unpack(stale))
  end
  if fresh > 0 then
    call('HINCRBY', keys.count, 'l', fresh)
  end
  for _, g in ipairs(counted) do
    call('HSET', g[1], 't', g[3], 'c', g[4], 'f', g[5], 'i', g[6])
    call('ZADD', keys.groups, now, g[2])
  end
  if memory then
    local value = id .. pack('>I6', now) .. table.concat(took)
    if explicit then
      call('SET', memory, value)
    else
      call('SET', memory, value, 'PX', kept)
    end
  end
  return out, mended
end

-- headOf returns the head of an index, and keeps heads in step with it if it has changed.
-- On a Cluster, in a slot that is moving away, an index that has just been emptied is one
-- that may not be read.
local function headOf(keys, name, changed)
  local head = redis.pcall('ZRANGE', keys.due, 0, 0, 'WITHSCORES')[2]
  if changed then
    if head then
      call('ZADD', keys.heads, head, name)
    else
      call('ZREM', keys.heads, name)
    end
  end
  return head
end

-- found returns the names and records of the tasks that a claim may take: the one that it
-- asks for, if it is due in the claim's queue, or the first of what is.
local function found(keys, prefix, task, room)
  local names, records = {}, {}
  if room == 0 then
    return names, records
  end
  local start = #prefix + 5
  local comma = string.find(keys.due, ',', start, true)
  if task then
    local rec = call('GET', task)
    if rec and byte(rec, 9) == FORMAT then
      local ok, at = placed(rec)
      local size = read('>I2', rec, 31)
      local queue = sub(rec, 35 + size, 34 + size + read('>I2', rec, 33 + size))
      if ok and at <= now and queue == sub(keys.due, comma + 1) then
        names, records = {sub(task, #prefix + 3)}, {rec}
      end
    end
    return names, records
  end
  local ids = call('ZRANGE', keys.due, '-inf', now, 'BYSCORE', 'LIMIT', 0, room)
  if #ids == 0 then
    return names, records
  end
  local namespace = sub(keys.due, start, comma)
  local at, n, size = 1, FIRST, 0
  while at <= #ids do
    local tasks = {}
    for i = at, math.min(at + n - 1, #ids) do
      tasks[#tasks + 1] = prefix .. 't:' .. namespace .. ids[i]
    end
    for i, rec in ipairs(call('MGET', unpack(tasks))) do
      -- What another version has written is left to those that know it, and stops nothing else.
      if not rec or byte(rec, 9) == FORMAT then
        local length = rec and #rec or 0
        if size > 0 and size + length > budget then
          return names, records
        end
        size = size + length
        names[#names + 1], records[#records + 1] = namespace .. ids[at + i - 1], rec
      end
    end
    at = at + #tasks
    -- As many as there is likely to be room for.
    n = math.max(FIRST, math.floor((budget - size) * (at - 1) / math.max(size, 1)))
  end
  return names, records
end

local reply = {now}
for c = 1, count do
  local due, heads, paused, counts, groups, memory, task = unpack(KEYS, c * 7 - 6, c * 7)
  local id, packed, nonces = unpack(ARGV, c * 3 + 1, c * 3 + 3)
  local keys = {due = due, heads = heads, count = counts, groups = groups}
  local prefix = sub(heads, 1, -6)
  local name = sub(due, #prefix + 5)
  if memory == due then
    memory = nil
  end
  local untilMS = tonumber(call('HGET', paused, name) or nil)
  if untilMS and untilMS ~= 0 and untilMS <= now then
    untilMS = nil
  end
  local last = memory and call('GET', memory)
  local got, mended, head = nil, 0, nil
  if last and sub(last, 1, 8) == id and now - read('>I6', last, 9) <= kept then
    got = again(last, prefix)
    head = headOf(keys, name, false)
  else
    local slots, room = slotsOf(packed)
    if #nonces < 8 * room then
      return redis.error_reply('ERR retryd: too few nonces')
    end
    local names, records = found(keys, prefix, task ~= due and task, untilMS and 0 or room)
    got, mended = take(keys, prefix, names, records, slots, nonces, memory, id)
    head = headOf(keys, name, #names > 0)
  end
  if untilMS and head then
    head = untilMS > 0 and string.format('%.0f', math.max(untilMS, tonumber(head)))
  end
  reply[#reply + 1] = {head or '', untilMS and 1 or 0, mended, unpack(got)}
end
return reply
