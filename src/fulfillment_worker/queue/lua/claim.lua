-- Taking orders into flight, oldest first, without starving anyone: at most half of the room goes
-- to orders whose retry is due, as long as the public list fills the other half.
--
-- Each order is stored in flight before it is removed from where it was: should the function end in
-- between (a command not permitted, say), it is there twice rather than lost.

-- An exchange claims until so many bytes are reached (MOST_BYTES, or what the worker asks for if it is
-- less). Redis tells the length of an order only with its bytes. So one order is read first, then
-- as many as fit by the sizes seen so far: at most READ at once, since the next ones may be larger.
local READ = 8
local CHUNK = 64 -- orders that are stored and removed with one command each

local MOST_EARLY = 8 -- of more, the worker reads them sooner than Redis

-- How many the queue had received before this exchange.
local received_before
-- How many bytes this exchange may claim.
local most_bytes
-- The entries so far, and those of them that are yet to be stored (HSET's arguments).
local claimed, unstored
-- Delivery and id, in turn, of those that have begun.
local begun
-- The sizes of the orders that were too large and are dead letters now.
local oversized
-- How many were moved, the claimed and all others, and their bytes.
local moved, bytes
-- Whether the list of suspects is known to be empty, and whether the lease was renewed.
local no_suspects, leased

local function start_claiming(received, wanted_bytes)
  received_before = received
  most_bytes = math.min(wanted_bytes, MOST_BYTES)
  claimed, unstored, begun, oversized = {}, {}, {}, {}
  moved, bytes = 0, 0
  no_suspects, leased = false, false
end

local function has_room(room)
  return #claimed + #oversized < room and bytes < most_bytes and not (limits.set and limits.is_tired())
end

-- How many to read next, of those that there is room for.
local function next_read(room)
  if moved == 0 then return 1 end
  local likely = math.floor((most_bytes - bytes) * moved / bytes)
  return math.max(1, math.min(READ, room, likely))
end

local function count(packed)
  moved, bytes = moved + 1, bytes + #packed
end

-- key: by which it is limited, where that is known already.
local function take(first_delivery, packed, key)
  local delivery = whole(first_delivery + #claimed)
  if limits.set and limits.set.per_key then limits.hold(WORKER, delivery, packed, key) end
  unstored[#unstored + 1] = delivery
  unstored[#unstored + 1] = packed
  claimed[#claimed + 1] = packed
  moved, bytes = moved + 1, bytes + #packed -- as `count` does, once for each order
end

local function renew_lease()
  if not leased then call('ZADD', LEASES, whole(NOW + policy.lease), WORKER) end
  leased = true
end

-- The lease comes first: should the function end midway, what is in flight is found by its end.
local function store()
  if #unstored > 0 then
    renew_lease()
    call('HSET', IN_FLIGHT, unpack(unstored))
  end
  unstored = {}
end
limits.store = store

-- Redis tells when the next retry is due only with the order's bytes. Where these are many, they are
-- read once, and the time is noted: true as long as one is due then, and none before.
local function read_next_due(noted)
  if noted and call('ZCOUNT', RETRY, '-inf', '(' .. noted) == 0
    and call('ZCOUNT', RETRY, noted, noted) > 0 then return noted end
  local head = call('ZRANGE', RETRY, 0, 0, 'WITHSCORES')
  local due = head[2]
  if due and #head[1] > LARGE then
    call('HSET', BOOKS, 'next_due', due)
  elseif noted then
    call('HDEL', BOOKS, 'next_due')
  end
  return due
end

-- Where retries stand: whether one is due, and when the next is (nil where none waits).
local function next_retry(noted)
  local due = tonumber(read_next_due(noted))
  if not due then return false, nil end
  return due + shift <= NOW, due + shift
end

-- Claims an entry, or parks it if it must wait for its key.
local function take_limited(first_delivery, copy, packed, raw)
  local is_parked, key = limits.park(whole(copy), packed, raw)
  if is_parked then count(packed) else take(first_delivery, packed, key) end
end

local function take_due(room, first_delivery)
  while has_room(room) do
    local gone, is_last = {}, false
    while #gone < CHUNK and has_room(room) and not is_last do
      local wanted = next_read(CHUNK - #gone)
      local due = call('ZRANGEBYSCORE', RETRY, '-inf', due_at(NOW), 'LIMIT', #gone, wanted)
      is_last = #due < wanted
      for _, packed in ipairs(due) do
        if not has_room(room) then break end
        local entry = unpack_entry(packed)
        if on_last_chance(entry) then
          call('LPUSH', SUSPECTS, packed)
          add_groups(1, 1)
          no_suspects = false
          count(packed)
        elseif limits.set then
          take_limited(first_delivery, entry.copy, packed, entry.raw)
        else
          take(first_delivery, packed)
        end
        gone[#gone + 1] = packed
      end
    end
    store()
    if #gone > 0 then call('ZREM', RETRY, unpack(gone)) end
    if is_last then return end
  end
end

-- The next group of suspects, or as many of it as there is room for. Whether any was taken.
local function take_suspects(room, first_delivery)
  local packed = call('LINDEX', SUSPECTS, -1)
  no_suspects = not packed
  if not packed then return false end
  local groups = call('HGET', BOOKS, 'suspect_groups') or ''
  local size, others = string.match(groups, '^(%d+) ?(.*)$')
  local left = tonumber(size or 1)
  -- Before any of them is in flight: should this worker die, they were together.
  local group, before = math.min(left, room - #claimed), #claimed
  call('HSET', BOOKS, 'group:' .. WORKER, group)
  while packed and left > 0 and has_room(room) do
    take(first_delivery, packed)
    store()
    call('RPOP', SUSPECTS)
    left = left - 1
    packed = left > 0 and has_room(room) and call('LINDEX', SUSPECTS, -1)
  end
  if #claimed - before < group then call('HSET', BOOKS, 'group:' .. WORKER, #claimed - before) end
  if left > 0 and call('LLEN', SUSPECTS) > 0 then
    others = left .. (others ~= '' and ' ' or '') .. (others or '')
  end
  if others and others ~= '' then
    call('HSET', BOOKS, 'suspect_groups', others)
  else
    call('HDEL', BOOKS, 'suspect_groups')
  end
  return true
end

-- One that is too large never reaches a worker, whose line may be slow.
local function refuse(entry)
  local err = string.format('too large: %d bytes, at most %d are allowed', #entry.raw,
    policy.max_order_bytes)
  bury(entry, '', 'invalid', err, WORKER)
  oversized[#oversized + 1] = #entry.raw
  count(entry.raw)
end

-- From the right end of a list of this length, a chunk at a time; whether the list is empty now.
local function take_first(list, length, room, first_delivery)
  local header, largest = string.format(' 0 0 %s\n', now), policy.max_order_bytes
  local copy = received_before + booked.received
  while length > 0 and has_room(room) do
    -- What is parked takes up no room.
    local left = limits.set and CHUNK or room - #claimed - #oversized
    local taken, most = 0, math.min(CHUNK, length, left)
    while taken < most and bytes < most_bytes and has_room(room) do
      local wanted = next_read(most - taken)
      local raws = call('LRANGE', list, whole(-taken - wanted), whole(-taken - 1))
      for i = #raws, 1, -1 do
        if bytes >= most_bytes or (limits.set and not has_room(room)) then break end
        local raw = raws[i]
        taken, copy = taken + 1, copy + 1
        if #raw > largest then
          refuse({copy = copy, failures = 0, orphanings = 0, first_seen = NOW, raw = raw})
        elseif not limits.set then
          take(first_delivery, string.format('%d', copy) .. header .. raw)
        else
          take_limited(first_delivery, copy, string.format('%d', copy) .. header .. raw, raw)
        end
      end
    end
    store()
    call('LTRIM', list, '0', whole(-taken - 1))
    booked.received = booked.received + taken
    length = length - taken
  end
  return length == 0
end

-- Parks those at the head of the list that must wait for their keys, though there is no room for others:
-- so who comes behind them is seen when there is. Returns whether the list is empty now.
local function park_ahead(list, length)
  local copy, taken, is_over = received_before + booked.received, 0, false
  while taken < length and not is_over do
    local raws = call('LRANGE', list, whole(-taken - READ), whole(-taken - 1))
    for i = #raws, 1, -1 do
      local raw = raws[i]
      local packed = string.format('%d 0 0 %s\n', copy + 1, now) .. raw
      is_over = bytes >= most_bytes or limits.is_tired() or #raw > policy.max_order_bytes
        or not limits.park(whole(copy + 1), packed, raw)
      if is_over then break end
      taken, copy = taken + 1, copy + 1
      count(packed)
    end
  end
  if taken > 0 then call('LTRIM', list, '0', whole(-taken - 1)) end
  booked.received = booked.received + taken
  return taken == length
end

-- Delivery and id, in turn, of those claimed whose id is known from an earlier attempt.
local function known_ids(first_delivery)
  local known = {}
  for i, packed in ipairs(claimed) do
    local order_id = call('HGET', IDS, string.match(packed, '^%d+'))
    if order_id then
      known[#known + 1] = whole(first_delivery + i - 1)
      known[#known + 1] = order_id
    end
  end
  return known
end

-- Another worker may be idle: what was moved aside to wake this one goes back to the head of the
-- public list, where it wakes the next.
local function hand_on()
  if call('LLEN', WOKEN) == 0 then return end
  while bytes < MOST_BYTES do
    local raw = call('LMOVE', WOKEN, PUBLIC, 'LEFT', 'RIGHT')
    if not raw then return end
    count(raw)
  end
end

-- Begins those of the claimed from `first` on that were never claimed before, and can be read here.
local function begin_early(first, first_delivery)
  if #claimed - first >= MOST_EARLY and not (limits.set and limits.set.rate) then return end
  for i = first, #claimed do
    local delivery = whole(first_delivery + i - 1)
    local order_id = begin_unread(string.match(claimed[i], '\n(.*)'), delivery)
    if order_id ~= '' then
      begun[#begun + 1] = delivery
      begun[#begun + 1] = order_id
    end
  end
end

-- suspects: how many the worker holds already; it may hold one group. listed: on the public list.
-- Returns whether it holds a suspect now, and whether nothing is known to wait on the lists.
local function claim(room, suspects, first_delivery, retry_due, listed)
  if retry_due then
    local share = listed > 0 and math.ceil(room / 2) or room
    -- Where limits leave room for one at a time, by turns.
    if limits.set and listed > 0 and room == 1 then share = NOW % 2 end
    take_due(share, first_delivery)
  end
  local suspect = suspects > 0
  if not suspect and has_room(room) then suspect = take_suspects(room, first_delivery) end
  local first = #claimed + 1
  local empty = take_first(WOKEN, call('LLEN', WOKEN), room, first_delivery)
    and take_first(PUBLIC, listed, room, first_delivery)
  begin_early(first, first_delivery)
  if retry_due then take_due(room, first_delivery) end
  if limits.set and limits.set.per_key and not empty then
    store()
    empty = park_ahead(PUBLIC, call('LLEN', PUBLIC)) and call('LLEN', WOKEN) == 0
  end
  return suspect, empty
end
