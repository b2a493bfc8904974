-- Taking orders into flight, oldest first, without starving anyone: at most half of the room goes
-- to orders whose retry is due, as long as the public list fills the other half.

-- Where retries stand: whether one is due, and when the next is (nil where none waits).
local function next_retry()
  local head = call('ZRANGE', RETRY, 0, 0, 'WITHSCORES')
  local due = tonumber(head[2])
  return due ~= nil and due <= NOW, due
end

local function take_due(room, packed)
  local taken = 0
  for _, member in ipairs(call('ZRANGEBYSCORE', RETRY, '-inf', now, 'LIMIT', 0, room)) do
    call('ZREM', RETRY, member)
    if on_last_chance(unpack_entry(member)) then
      call('LPUSH', SUSPECTS, member)
    else
      taken = taken + 1
      packed[#packed + 1] = member
    end
  end
  return taken
end

local function take_suspect(packed)
  local member = call('RPOP', SUSPECTS)
  if member then packed[#packed + 1] = member end
end

-- How many the queue had received before this trip, and the bytes of the order that rang; set by
-- exchange.lua. Where among the claimed that order is; set here.
local received_before, rang, rang_at

-- How many came from the list; fewer than `room` means that it is empty.
local function take_first(list, room, packed)
  local raws = call('RPOP', list, room) or {}
  local header = string.format(' 0 0 %s\n', now)
  for i, raw in ipairs(raws) do
    local copy = received_before + booked.received + i
    packed[#packed + 1] = string.format('%d', copy) .. header .. raw
    if raw == rang then rang_at = rang_at or #packed end
  end
  booked.received = booked.received + #raws
  return #raws
end

local function store(packed, first_delivery)
  local fields = {}
  for i, entry in ipairs(packed) do
    fields[#fields + 1] = first_delivery + i - 1
    fields[#fields + 1] = entry
    if #fields == 2000 or i == #packed then
      call('HSET', IN_FLIGHT, unpack(fields))
      fields = {}
    end
  end
end

-- Another worker may be idle: what was moved aside to wake this one goes back to the head of the
-- public list, where it wakes the next.
local function hand_on()
  while call('LMOVE', WOKEN, PUBLIC, 'LEFT', 'RIGHT') do end
end

-- The claimed entries, packed, and whether the public list is known to be empty now.
local function claim(room, suspects, first_delivery, retry_due)
  local packed = {}
  if suspects == 0 then take_suspect(packed) end
  if retry_due then take_due(math.ceil((room - #packed) / 2), packed) end
  local left = room - #packed
  if left > 0 then left = left - take_first(WOKEN, left, packed) end
  if left > 0 then left = left - take_first(PUBLIC, left, packed) end
  local empty = left > 0
  if left > 0 and retry_due then take_due(left, packed) end
  store(packed, first_delivery)
  return packed, empty
end
