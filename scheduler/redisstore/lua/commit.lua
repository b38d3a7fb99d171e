-- Writes changes of tasks, each whole and only if its task is as it expects: the task,
-- its places in the indexes and what is counted of it, which all follow from the task as
-- it was and as it becomes, and so are known beforehand.
--
-- Two scripts are made of this file, which differ in their flags and in MAY_CREATE:
-- one creates tasks and is refused when memory is full; the other changes and removes
-- tasks also then (allow-oom), and creates none. With CONFIRMS they write a byte as it
-- was where they tell of a task as it is: see confirm.go.
--
-- KEYS   per change its task; then whatever else the changes touch, each once
-- ARGV   1 now in ms, 0 to ask for the time
--        2 how far a decision's time may be ahead of now, in ms
--        3 how far behind
--        4 the channel for hints
--        5 who sends them, 8 bytes
--        6 the parts that are touched, 11 bytes each: its kind (1 byte, see below), its
--          shard's number (2), and which of the KEYS are its own (2), a first (2) and a
--          second other (2; 0: none), and where in its key a name starts (2)
--        7 the moves of counters: the part (2), how many fields (1), and per field by how
--          much (4, signed), length (1) and name
--        then per change:
--          version expected (8 bytes, zeros: no such task), time of the decision (6, 0:
--          unchecked), where the task's id starts in its key (2), how many moves (1) and
--          how many places it enters (1), the moves (2 each), the places it enters (part
--          (2) and time, 15 digits) and those it leaves (part (2))
--          the record behind its version, empty if the task goes
-- Result now, a string with a letter per change, and for those in capitals, in their
--        order, the task's record as it is
--          d done       n conflict, there is no such task    C conflict
--          s the time is refused, there is no such task      S the time is refused
--          m it would have to be created, which this script does not
--          F the record has a format that this script does not know
-- Bound  O(changes * log of the indexes); the caller sends at most 100 changes
--
-- On a Cluster, in a slot that is moving away, a key that is not there may not be touched,
-- and one that this script has emptied is not there any more: so nothing is put into a key
-- after something was taken out, and what is read behind a write is read by pcall, whose
-- error then means that nothing is left.

local call, pcall, byte, sub = redis.call, redis.pcall, string.byte, string.sub
local read, pack = struct.unpack, struct.pack
local FORMAT, SCHEDULED, LEASED, DEAD = 1, 1, 2, 4
local NO_VERSION = string.rep('\0', 8)
-- The kinds of part, and what their other keys are:
-- an index of what is due (queues, heads), of what is held or dead (queues), of dead
-- letters of one fingerprint (the queue's fingerprints), any other, of what ends;
-- the counts of a queue (what its tasks carry), its events of an hour (queues), the counts
-- of a group (groups).
local DUE, QUEUED, PRINT, PLAIN, ENDING, COUNT, STATS, GROUP = 1, 2, 3, 4, 5, 6, 7, 8
-- An hour's events are told for 25 hours from its start on.
local STATS_KEPT = 26 * 3600
-- The fields of a queue's counts that are kept under the other key: old versions know none
-- but their own under the first.
local CARRIED = {w = true, h = true, d = true}

local total = (#ARGV - 7) / 2
if total < 1 or total ~= math.floor(total) or #KEYS < total or #ARGV[6] % 11 ~= 0 then
  return redis.error_reply('ERR retryd: wrong number of keys or arguments')
end

local now = tonumber(ARGV[1])
local explicit = now ~= 0
if not explicit then
  local t = call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local ahead, behind = tonumber(ARGV[2]), tonumber(ARGV[3])

local parts, touched = {}, {}
for at = 1, #ARGV[6], 11 do
  local kind, shard, own, first, second, start = read('>BI2I2I2I2I2', ARGV[6], at)
  parts[#parts + 1] = {
    kind = kind, shard = shard, key = KEYS[own], first = KEYS[first], second = KEYS[second],
    start = start, add = {}, rem = {}, sums = {},
  }
end

-- Check, and gather what is to be done to each part. ----------------------------------

-- touch returns a part that a change touches, with what must be known of it before.
local function touch(number)
  local p = parts[number]
  if not p.touched then
    p.touched = true
    touched[#touched + 1] = p
    if p.kind == DUE then
      p.head = tonumber(call('ZRANGE', p.key, 0, 0, 'WITHSCORES')[2])
    elseif p.kind == GROUP then
      local was = call('HMGET', p.key, 't', 'c', 'f', 'i')
      p.counts = {t = tonumber(was[1] or 0), c = tonumber(was[2] or 0), f = tonumber(was[3] or 0), i = tonumber(was[4] or 0)}
    end
  end
  return p
end

-- The moves of counters: most changes of a script are of few kinds.
local moves, at = {}, 1
while at <= #ARGV[7] do
  local number, fields = read('>I2B', ARGV[7], at)
  local move = {part = number, uses = 0, by = {}}
  at = at + 3
  for _ = 1, fields do
    local by, length = read('>i4B', ARGV[7], at)
    move.by[sub(ARGV[7], at + 5, at + 4 + length)] = by
    at = at + 5 + length
  end
  moves[#moves + 1] = move
end

-- grouped moves the counts of a group. Less than nothing of a kind is left where the group
-- was deleted while the task was under way, which then counts as if it were new.
local function grouped(counts, by)
  counts.t = counts.t + (by.t or 0)
  for _, field in ipairs({'c', 'f', 'i'}) do
    local n = counts[field] + (by[field] or 0)
    if n < 0 then
      counts.t = counts.t - n
      n = 0
    end
    counts[field] = n
  end
  counts.t = math.max(counts.t, counts.c + counts.f + counts.i)
end

-- gather notes what a change does besides writing its task. Its time in the index of what
-- is due was wasMS.
local function gather(head, task, wasMS)
  local idAt, counted, entered = read('>I2BB', head, 15)
  local at = 19
  for _ = 1, counted do
    local move = moves[read('>I2', head, at)]
    local p = touch(move.part)
    if p.kind == GROUP then
      grouped(p.counts, move.by)
    else
      move.uses = move.uses + 1
    end
    at = at + 2
  end
  local id = sub(task, idAt)
  for _ = 1, entered do
    local p = touch(read('>I2', head, at))
    local score, add = sub(head, at + 2, at + 16), p.add
    add[#add + 1], add[#add + 2] = score, p.kind == ENDING and sub(task, p.start) or id
    if p.kind == DUE then
      local ms = tonumber(score)
      if not p.low or ms < p.low then
        p.low = ms
      end
      p.reread = p.reread or (wasMS and p.head and wasMS <= p.head)
    end
    at = at + 17
  end
  for at = at, #head, 2 do
    local p = touch(read('>I2', head, at))
    p.rem[#p.rem + 1] = p.kind == ENDING and sub(task, p.start) or id
    p.reread = p.reread or (wasMS and p.head and wasMS <= p.head)
  end
end

local records = call('MGET', unpack(KEYS, 1, total))
local codes, reply = {}, {now, ''}
local told
local set, gone, expiring = {}, {}, {}
for i = 1, total do
  local head, body, task = ARGV[6 + 2 * i], ARGV[7 + 2 * i], KEYS[i]
  local rec, code = records[i], 'd'
  if rec and byte(rec, 9) == FORMAT and byte(rec, 10) > DEAD and now >= read('>I6', rec, 11) then
    rec = false
  end
  if (rec and sub(rec, 1, 8) or NO_VERSION) ~= sub(head, 1, 8) then
    code = rec and 'C' or 'n'
  elseif rec and byte(rec, 9) ~= FORMAT then
    code = 'F'
  else
    local decided = read('>I6', head, 9)
    if decided ~= 0 and (decided - now > ahead or now - decided > behind) then
      code = rec and 'S' or 's'
    elseif not rec and body ~= '' and not MAY_CREATE then
      code = 'm'
    end
  end
  codes[i] = code
  if code == 'd' then
    local version, wasMS = now * 1000, nil
    if rec then
      version = math.max(read('>I8', rec, 1) + 1, version)
      local state = byte(rec, 10)
      if state == SCHEDULED or state == LEASED then
        wasMS = read('>I6', rec, 11)
      end
    end
    gather(head, task, wasMS)
    local expireMS = body ~= '' and byte(body, 2) > DEAD and read('>I6', body, 3)
    if body == '' or (expireMS and expireMS <= now) then
      gone[#gone + 1] = task
    elseif expireMS and not explicit then
      expiring[#expiring + 1] = {task, pack('>I8', version) .. body, expireMS}
    else
      set[#set + 1], set[#set + 2] = task, pack('>I8', version) .. body
    end
  elseif rec and (code == 'C' or code == 'S' or code == 'F') then
    reply[#reply + 1] = rec
    told = told or i
  end
end
reply[2] = table.concat(codes)

-- Write. -----------------------------------------------------------------------------

if told and CONFIRMS then
  -- What is told may be all that comes of this, and replicas confirm only what is written.
  call('SETRANGE', KEYS[told], 0, sub(records[told], 1, 1))
end
if #set > 0 then
  call('MSET', unpack(set))
end
for _, e in ipairs(expiring) do
  call('SET', e[1], e[2], 'PXAT', e[3])
end
if #gone > 0 then
  call('UNLINK', unpack(gone))
end
for _, move in ipairs(moves) do
  if move.uses > 0 then
    local sums = parts[move.part].sums
    for field, by in pairs(move.by) do
      sums[field] = (sums[field] or 0) + by * move.uses
    end
  end
end

-- known are the queues that the register of a shard must have.
local known = {}
local function know(p)
  local names = known[p.first]
  if not names then
    names = {}
    known[p.first] = names
  end
  names[#names + 1], names[#names + 2] = 0, sub(p.key, p.start)
end

local hints = {}

-- lead keeps the head of an index of what is due.
local function lead(p)
  local head = p.head
  if p.reread then
    head = tonumber(pcall('ZRANGE', p.key, 0, 0, 'WITHSCORES')[2])
  elseif p.low and (not head or p.low < head) then
    head = p.low
  end
  if head == p.head then
    return
  end
  local name = sub(p.key, p.start)
  if not head then
    call('ZREM', p.second, name)
    return
  end
  call('ZADD', p.second, head, name)
  if not p.head then
    know(p)
  end
  if head == p.low and (not p.head or head < p.head) then
    hints[#hints + 1] = pack('>I2I6I2', p.shard, head, #name) .. name
  end
end

-- sample writes down how many dead letters of a fingerprint there are, when the first and
-- the last of them died, and which that is.
local function sample(p)
  local fingerprint = sub(p.key, p.start, p.start + 15)
  local first = pcall('ZRANGE', p.key, 0, 0, 'WITHSCORES')
  if #first == 0 then
    call('HDEL', p.first, fingerprint)
    return
  end
  local last = call('ZRANGE', p.key, -1, -1, 'WITHSCORES')
  call('HSET', p.first, fingerprint, pack('>I4I6I6', call('ZCARD', p.key), tonumber(first[2]), tonumber(last[2])) .. last[1])
end

for _, p in ipairs(touched) do
  if #p.add > 0 then
    call('ZADD', p.key, unpack(p.add))
  end
  if #p.rem > 0 then
    call('ZREM', p.key, unpack(p.rem))
  end
  if p.kind == DUE then
    lead(p)
  elseif p.kind == QUEUED then
    if #p.add > 0 then
      know(p)
    end
  elseif p.kind == PRINT then
    sample(p)
  elseif p.kind == COUNT then
    local zero = {}
    for field, by in pairs(p.sums) do
      local key = CARRIED[field] and p.first or p.key
      if by ~= 0 and call('HINCRBY', key, field, by) == 0 then
        zero[#zero + 1] = {key, field}
      end
    end
    for _, z in ipairs(zero) do
      call('HDEL', z[1], z[2])
    end
  elseif p.kind == STATS then
    local new = false
    for field, by in pairs(p.sums) do
      new = call('HINCRBY', p.key, field, by) == by or new
    end
    if new and call('EXPIRE', p.key, STATS_KEPT, 'NX') == 1 then
      know(p)
    end
  elseif p.kind == GROUP then
    local n = p.counts
    call('HSET', p.key, 't', n.t, 'c', n.c, 'f', n.f, 'i', n.i)
    call('ZADD', p.first, now, sub(p.key, p.start))
  end
end
for queues, names in pairs(known) do
  call('ZADD', queues, unpack(names))
end
if #hints > 0 then
  -- All is written: a user who may not publish must not be told that it failed.
  pcall('PUBLISH', ARGV[4], ARGV[5] .. table.concat(hints))
end
return reply
