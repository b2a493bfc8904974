-- Orders whose worker's lease ran out go back to the queue, or, after max_orphanings, to the dead.

-- At most this much is moved in one trip, so that Redis is never busy for long.
local MOST_ORPHANS = 1000
local MOST_ORPHAN_BYTES = 1048576

local function mark_orphan(order_id, worker, delivery, status)
  if order_id == '' then return end
  local was = call('HMGET', policy.order_prefix .. order_id, 'status', 'worker', 'delivery')
  local begun = was[1] == 'processing' and was[2] == worker and was[3] == delivery
  local others = was[1] == 'fulfilled' or (was[1] == 'processing' and not begun)
  if status == 'dead' and not others then
    mark_dead(order_id, 'its worker died with it each time')
  elseif status == 'retrying' and begun then
    call('HSET', policy.order_prefix .. order_id, 'status', 'retrying', 'next_attempt_at', now)
    emit(order_id, 'retrying', call('HGET', policy.order_prefix .. order_id, 'attempt'))
  end
end

-- Whether the orphan is dead now.
local function put_back(entry, worker, delivery)
  local order_id = read_order_id(entry.raw)
  entry.orphanings = entry.orphanings + 1
  if entry.orphanings >= policy.max_orphanings then
    bury(entry, order_id, 'orphaned', 'its worker died with it each time', worker)
    mark_orphan(order_id, worker, delivery, 'dead')
    return true
  end
  if on_last_chance(entry) then
    call('LPUSH', SUSPECTS, pack_entry(entry))
  else
    call('ZADD', RETRY, string.format('%d', entry.first_seen), pack_entry(entry))
  end
  mark_orphan(order_id, worker, delivery, 'retrying')
  return false
end

-- Worker names are never used again, so nothing of a worker is needed that is long silent.
local function forget(worker)
  call('ZREM', WORKERS, worker)
  call('HDEL', BOOKS, 'trips:' .. worker, 'breaker:' .. worker)
end

-- How many orphans of `worker` were put back, and how many of them are dead now. The lease stays,
-- expired, until the last of them is moved, so the next trip goes on.
local function reap(worker)
  local in_flight = policy.in_flight_prefix .. worker
  local deliveries = call('HKEYS', in_flight)
  local moved, bytes, dead = 0, 0, 0
  while moved < #deliveries and moved < MOST_ORPHANS and bytes < MOST_ORPHAN_BYTES do
    moved = moved + 1
    local packed = call('HGET', in_flight, deliveries[moved])
    if put_back(unpack_entry(packed), worker, deliveries[moved]) then dead = dead + 1 end
    call('HDEL', in_flight, deliveries[moved])
    bytes = bytes + #packed
  end
  if moved == #deliveries then
    -- Kept until it is forgotten: should it not be dead, it is told so, whatever it believes.
    call('HSET', BOOKS, 'trips:' .. worker, REAPED)
    call('ZREM', LEASES, worker)
  end
  return moved, dead
end
