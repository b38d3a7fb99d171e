-- Moves due tasks to LEASED, for several claims one after the other.
--
-- KEYS   per claim: due index of its queue, heads, queues, the replica's last claim of
--        the queue and shard (the due index again where it is not kept), and the task
--        (the due index again where the claim is of whatever is due)
-- ARGV   1 now in ms, 0 to ask for the time
--        2 how long a claim is remembered, in ms
--        then per claim:
--          its id (8 bytes)
--          its slots: count (2 bytes), length of the lease in ms (6), length of the
--          worker's name (2), the name
--          nonces, 8 bytes each, at least as many as the counts add up to
-- Result now, and per claim: the earliest time left in the index ('' for none), how many
--        entries of the index were wrong and are mended, then per task its name and its
--        record
-- Bound  O(tasks * log of the index) with at most 100 tasks a claim
--
-- Learned keys: the tasks found in the index, and the due index of a task claimed by its
-- id, each read before the claim's first write. On a Cluster a call has one claim only,
-- so that nothing has been written when a read is refused.

local call, byte, sub, char = redis.call, string.byte, string.sub, string.char
local read, pack = struct.unpack, struct.pack
local FORMAT, SCHEDULED, LEASED = 1, 1, 2
local LIMIT, MOST = 100, 4294967295

local now = tonumber(ARGV[1])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local kept = tonumber(ARGV[2])
local count = #KEYS / 5
if count < 1 or count ~= math.floor(count) or #ARGV ~= 2 + 3 * count then
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

-- leased returns the record handed out, and its fence.
local function leased(rec, slot, nonce)
  local state, at = byte(rec, 10), read('>I6', rec, 11)
  local delivery, expiries, size, flags = read('>I4I4I2B', rec, 23)
  local number, from = 0, 34
  if flags % 2 >= 1 then
    number, from = read('>I8', rec, 34), 50
  end
  local dueMS = 0
  if state == SCHEDULED then
    dueMS = at
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
    pack('>I4I4I2', math.min(delivery + 1, MOST), math.min(expiries, MOST), #part + 1) .. char(flags) .. part .. sub(rec, 33 + size), fence
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
  end
  return got
end

-- take claims tasks of one index: names and records are in its order. It returns the
-- records as they are now, and how many entries of the index were wrong.
local function take(key, prefix, names, records, slots, nonces, memory, id)
  local set, scores, stale, out, took = {}, {}, {}, {}, {}
  local s, left, n, mended = 1, 0, 0, 0
  left = slots[1] and slots[1].count or 0
  for i, name in ipairs(names) do
    local rec = records[i]
    local ok, at = false, 0
    if rec then
      ok, at = placed(rec)
    end
    local taskID = sub(name, string.find(name, ',', 1, true) + 1)
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
      local new, fence = leased(rec, slots[s], sub(nonces, n * 8 + 1, n * 8 + 8))
      n = n + 1
      out[n] = {name, new}
      set[#set + 1], set[#set + 2] = prefix .. 't:' .. name, new
      scores[#scores + 1], scores[#scores + 2] = now + slots[s].lease, taskID
      took[n] = fence .. pack('>I2', #name) .. name
    end
  end
  if #set > 0 then
    call('MSET', unpack(set))
  end
  if #scores > 0 then
    call('ZADD', key, 'XX', unpack(scores))
  end
  if #stale > 0 then
    call('ZREM', key, unpack(stale))
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

-- headOf keeps heads and queues in step with an index, and returns its head.
local function headOf(key, heads, queues, prefix, changed)
  local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
  if changed then
    local name = sub(key, #prefix + 5)
    if head then
      call('ZADD', heads, head, name)
    else
      call('ZREM', heads, name)
      call('ZREM', queues, name)
    end
  end
  return head or ''
end

local reply = {now}
for c = 1, count do
  local due, heads, queues, memory, task = unpack(KEYS, c * 5 - 4, c * 5)
  local id, packed, nonces = unpack(ARGV, c * 3, c * 3 + 2)
  local prefix = sub(heads, 1, -6)
  if memory == due then
    memory = nil
  end
  local last = memory and call('GET', memory)
  if last and sub(last, 1, 8) == id and now - read('>I6', last, 9) <= kept then
    local got = again(last, prefix)
    reply[#reply + 1] = {headOf(due, heads, queues, prefix, false), 0, unpack(got)}
  else
    local slots, room = slotsOf(packed)
    if #nonces < 8 * room then
      return redis.error_reply('ERR retryd: too few nonces')
    end
    local key, names, records = due, {}, {}
    if task ~= due then
      local rec = room > 0 and call('GET', task)
      if rec and byte(rec, 9) == FORMAT then
        local ok, at = placed(rec)
        if ok and at <= now then
          local size = read('>I2', rec, 31)
          local length = read('>I2', rec, 33 + size)
          local name = sub(task, #prefix + 3)
          key = prefix .. 'due:' .. sub(name, 1, string.find(name, ',', 1, true)) .. sub(rec, 35 + size, 34 + size + length)
          call('ZSCORE', key, sub(name, string.find(name, ',', 1, true) + 1))
          names, records = {name}, {rec}
        end
      end
    elseif room > 0 then
      local found = call('ZRANGE', due, '-inf', now, 'BYSCORE', 'LIMIT', 0, room)
      if #found > 0 then
        local start = #prefix + 5
        local namespace = sub(due, start, string.find(due, ',', start, true))
        local tasks = {}
        for i, taskID in ipairs(found) do
          names[i] = namespace .. taskID
          tasks[i] = prefix .. 't:' .. names[i]
        end
        records = call('MGET', unpack(tasks))
      end
    end
    -- What another version has written is left to those that know it, and stops
    -- nothing else.
    local ours, readable = {}, {}
    for i, rec in ipairs(records) do
      if not rec or byte(rec, 9) == FORMAT then
        ours[#ours + 1], readable[#readable + 1] = names[i], rec
      end
    end
    names, records = ours, readable
    local got, mended = take(key, prefix, names, records, slots, nonces, memory, id)
    if key ~= due and #names > 0 then
      headOf(key, heads, queues, prefix, true)
    end
    reply[#reply + 1] = {headOf(due, heads, queues, prefix, key == due and #names > 0), mended, unpack(got)}
  end
end
return reply
