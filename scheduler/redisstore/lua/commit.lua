-- Writes changes of tasks, each whole and only if its task is as it expects.
--
-- Two scripts are made of this file, which differ in their flags and in MAY_CREATE:
-- one creates tasks and is refused when memory is full; the other changes and removes
-- tasks also then (allow-oom), and creates none.
--
-- KEYS   per shard: heads, queues, ending, then per change of that shard:
--        the task, and the due index of its queue (the task again if it goes)
-- ARGV   1 now in ms, 0 to ask for the time
--        2 how far a decision's time may be ahead of now, in ms
--        3 how far behind
--        4 the channel for hints
--        5 who sends them, 8 bytes
--        6 per shard: its number (2 bytes) and how many changes it has (2)
--        then per change:
--          version expected (8 bytes, zeros: no such task), time of the decision (6, 0: unchecked)
--          the record behind its version, empty if the task goes
-- Result now, a string with a letter per change, and for those in capitals, in their
--        order, the task's record as it is
--          d done       n conflict, there is no such task    C conflict
--          s the time is refused, there is no such task      S the time is refused
--          m it would have to be created, which this script does not
--          F the record has a format that this script does not know
-- Bound  O(changes * log of the indexes); the caller sends at most 100 changes
--
-- Learned keys: the due index of the queue that a task is in, read before any write.

local call, byte, sub = redis.call, string.byte, string.sub
local read, pack = struct.unpack, struct.pack
local FORMAT, SCHEDULED, LEASED, HELD, DEAD = 1, 1, 2, 3, 4
local NO_VERSION = string.rep('\0', 8)

local total = 0
for at = 1, #(ARGV[6] or ''), 4 do
  total = total + (#ARGV[6] % 4 == 0 and read('>I2', ARGV[6], at + 2) or 0)
end
if total == 0 or #KEYS ~= #ARGV[6] / 4 * 3 + 2 * total or #ARGV ~= 6 + 2 * total then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end

local now = tonumber(ARGV[1])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local ahead, behind = tonumber(ARGV[2]), tonumber(ARGV[3])

-- The changes, by shard.
local changes, tasks = {}, {}
local shards = {}
local k, a = 1, 7
for at = 1, #ARGV[6], 4 do
  local number, count = read('>I2I2', ARGV[6], at)
  local heads = KEYS[k]
  local shard = {
    number = number, heads = heads, queues = KEYS[k + 1], ending = KEYS[k + 2],
    prefix = sub(heads, 1, -6), add = {}, rem = {},
  }
  shards[#shards + 1] = shard
  k = k + 3
  for _ = 1, count do
    changes[#changes + 1] = {shard = shard, task = KEYS[k], due = KEYS[k + 1], expect = ARGV[a], body = ARGV[a + 1]}
    tasks[#tasks + 1] = KEYS[k]
    k, a = k + 2, a + 2
  end
end

-- Check, and read all that there is to read. ---------------------------------------

local queues, order = {}, {}

-- queue returns what is known and to be done of a due index.
local function queue(key, shard)
  local q = queues[key]
  if not q then
    local head = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    q = {key = key, shard = shard, head = tonumber(head[2]), add = {}, rem = {}}
    queues[key] = q
    order[#order + 1] = q
  end
  return q
end

local records = call('MGET', unpack(tasks))
local codes, reply = {}, {now, ''}
for i, c in ipairs(changes) do
  local rec, code = records[i], 'd'
  if rec and byte(rec, 9) == FORMAT and byte(rec, 10) > DEAD and now >= read('>I6', rec, 11) then
    rec = false
  end
  if (rec and sub(rec, 1, 8) or NO_VERSION) ~= sub(c.expect, 1, 8) then
    code = rec and 'C' or 'n'
  elseif rec and byte(rec, 9) ~= FORMAT then
    code = 'F'
  else
    local decided = read('>I6', c.expect, 9)
    if decided ~= 0 and (decided - now > ahead or now - decided > behind) then
      code = rec and 'S' or 's'
    elseif not rec and c.body ~= '' and not MAY_CREATE then
      code = 'm'
    end
  end
  codes[i] = code
  if code == 'd' then
    c.done = true
    local shard = c.shard
    c.name = sub(c.task, #shard.prefix + 3)
    local comma = string.find(c.name, ',', 1, true)
    c.id = sub(c.name, comma + 1)
    if rec then
      local state = byte(rec, 10)
      if state == SCHEDULED or state == LEASED then
        local lease = read('>I2', rec, 31)
        local length = read('>I2', rec, 33 + lease)
        local name = sub(rec, 35 + lease, 34 + lease + length)
        c.from = queue(shard.prefix .. 'due:' .. sub(c.name, 1, comma) .. name, shard)
        c.fromMS = read('>I6', rec, 11)
      end
      c.wasEnding = state == DEAD or (state >= SCHEDULED and state <= HELD and read('>I6', rec, 17) > 0)
    end
    if c.body ~= '' then
      local state, at, deadline = byte(c.body, 2), read('>I6I6', c.body, 3)
      if state == SCHEDULED or state == LEASED then
        c.to, c.toMS = queue(c.due, shard), at
      end
      if state == DEAD then
        c.endingMS = at
      elseif state >= SCHEDULED and state <= HELD and deadline > 0 then
        c.endingMS = deadline
      end
      if state > DEAD then
        c.expireMS = at
      end
      local version = now * 1000
      if rec then
        version = math.max(read('>I8', rec, 1) + 1, version)
      end
      c.record = pack('>I8', version) .. c.body
    end
  elseif rec and (code == 'C' or code == 'S' or code == 'F') then
    reply[#reply + 1] = rec
  end
end
reply[2] = table.concat(codes)

-- Write. -----------------------------------------------------------------------------

local set, gone = {}, {}
for _, c in ipairs(changes) do
  if c.done then
    if not c.record or (c.expireMS and c.expireMS <= now) then
      gone[#gone + 1] = c.task
    elseif c.expireMS and not explicit then
      call('SET', c.task, c.record, 'PXAT', c.expireMS)
    else
      set[#set + 1] = c.task
      set[#set + 1] = c.record
    end
    local from, to = c.from, c.to
    if from then
      if from.head and c.fromMS <= from.head then
        from.reread = true
      end
      if from ~= to then
        from.rem[#from.rem + 1] = c.id
      end
    end
    if to then
      to.add[#to.add + 1] = c.toMS
      to.add[#to.add + 1] = c.id
      if not to.low or c.toMS < to.low then
        to.low = c.toMS
      end
    end
    local shard = c.shard
    if c.endingMS then
      shard.add[#shard.add + 1] = c.endingMS
      shard.add[#shard.add + 1] = c.name
    elseif c.wasEnding then
      shard.rem[#shard.rem + 1] = c.name
    end
  end
end

if #set > 0 then
  call('MSET', unpack(set))
end
if #gone > 0 then
  call('UNLINK', unpack(gone))
end
for _, shard in ipairs(shards) do
  if #shard.rem > 0 then
    call('ZREM', shard.ending, unpack(shard.rem))
  end
  if #shard.add > 0 then
    call('ZADD', shard.ending, unpack(shard.add))
  end
end

local hints = {}
for _, q in ipairs(order) do
  if #q.rem > 0 then
    call('ZREM', q.key, unpack(q.rem))
  end
  if #q.add > 0 then
    call('ZADD', q.key, unpack(q.add))
  end
  local head = q.head
  if q.reread then
    head = tonumber(call('ZRANGE', q.key, 0, 0, 'WITHSCORES')[2])
  elseif q.low and (not head or q.low < head) then
    head = q.low
  end
  if head ~= q.head then
    local shard = q.shard
    local name = sub(q.key, #shard.prefix + 5)
    if not head then
      call('ZREM', shard.heads, name)
      call('ZREM', shard.queues, name)
    else
      call('ZADD', shard.heads, head, name)
      if not q.head then
        call('ZADD', shard.queues, 0, name)
      end
      if head == q.low and (not q.head or head < q.head) then
        hints[#hints + 1] = pack('>I2I6I2', shard.number, head, #name) .. name
      end
    end
  end
end
if #hints > 0 then
  -- All is written: a user who may not publish must not be told that it failed.
  redis.pcall('PUBLISH', ARGV[4], ARGV[5] .. table.concat(hints))
end
return reply
