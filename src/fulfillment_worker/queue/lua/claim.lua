-- Taking orders into flight, oldest first, without starving anyone: at most half of the room goes
-- to orders whose retry is due, as long as the public list fills the other half.
--
-- Each order is stored in flight before it is removed from where it was: should the script end in
-- between (a command not permitted, say), it is there twice rather than lost.

-- What one trip may carry, so that large orders can't keep Redis or the line busy for long.
local MOST_BYTES = 1048576
local CHUNK = 64

-- How many the queue had received before this trip, and the bytes of the order that rang; set by
-- exchange.lua. Where among the claimed that order is; set here.
local received_before, rang, rang_at
-- The entries so far, their size, and those of them that are yet to be stored (HSET's arguments).
local claimed, bytes, unstored = {}, 0, {}
-- Whether the list of suspects is known to be empty.
local no_suspects = false

local function has_room(room)
  return #claimed < room and bytes < MOST_BYTES
end

local function take(first_delivery, packed)
  unstored[#unstored + 1] = whole(first_delivery + #claimed)
  unstored[#unstored + 1] = packed
  claimed[#claimed + 1] = packed
  bytes = bytes + #packed
end

local leased = false

local function renew_lease()
  if not leased then call('ZADD', LEASES, whole(NOW + policy.lease), WORKER) end
  leased = true
end

-- The lease comes first: should the script end midway, what is in flight is found by its end.
local function store()
  if #unstored > 0 then
    renew_lease()
    call('HSET', IN_FLIGHT, unpack(unstored))
  end
  unstored = {}
end

-- Where retries stand: whether one is due, and when the next is (nil where none waits).
local function next_retry()
  local head = call('ZRANGE', RETRY, 0, 0, 'WITHSCORES')
  local due = tonumber(head[2])
  return due ~= nil and due <= NOW, due
end

local function take_due(room, first_delivery)
  while has_room(room) do
    local due = call('ZRANGEBYSCORE', RETRY, '-inf', now, 'LIMIT', 0, CHUNK)
    local gone = {}
    for _, packed in ipairs(due) do
      if not has_room(room) then break end
      if on_last_chance(unpack_entry(packed)) then
        call('LPUSH', SUSPECTS, packed)
        add_groups(1, 1)
        no_suspects = false
      else
        take(first_delivery, packed)
      end
      gone[#gone + 1] = packed
    end
    store()
    if #gone > 0 then call('ZREM', RETRY, unpack(gone)) end
    if #due < CHUNK then return end
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
  call('HSET', BOOKS, 'group:' .. WORKER, math.min(left, room - #claimed))
  while packed and left > 0 and has_room(room) do
    take(first_delivery, packed)
    store()
    call('RPOP', SUSPECTS)
    left = left - 1
    packed = left > 0 and call('LINDEX', SUSPECTS, -1)
  end
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

-- From the right end of a list, a chunk at a time; whether the list is empty now.
local function take_first(list, room, first_delivery)
  local header = string.format(' 0 0 %s\n', now)
  while has_room(room) do
    local wanted = math.min(CHUNK, room - #claimed)
    local raws = call('LRANGE', list, -wanted, -1)
    local taken = 0
    for i = #raws, 1, -1 do
      if not has_room(room) then break end
      local copy = received_before + booked.received + 1
      take(first_delivery, string.format('%d', copy) .. header .. raws[i])
      booked.received = booked.received + 1
      taken = taken + 1
      if raws[i] == rang then rang_at = rang_at or #claimed end
    end
    store()
    if taken > 0 then call('LTRIM', list, 0, -taken - 1) end
    if #raws < wanted then return taken == #raws end
  end
  return false
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
  while call('LMOVE', WOKEN, PUBLIC, 'LEFT', 'RIGHT') do end
end

-- suspects: how many the worker holds already; it may hold one group. listed: on the public list.
-- Returns whether it holds a suspect now, and whether nothing is known to wait on the lists.
local function claim(room, suspects, first_delivery, retry_due, listed)
  if retry_due then
    local share = listed > 0 and math.ceil(room / 2) or room
    take_due(share, first_delivery)
  end
  local suspect = suspects > 0
  if not suspect and has_room(room) then suspect = take_suspects(room, first_delivery) end
  local empty = take_first(WOKEN, room, first_delivery)
    and (listed == 0 or take_first(PUBLIC, room, first_delivery))
  if retry_due then take_due(room, first_delivery) end
  return suspect, empty
end
