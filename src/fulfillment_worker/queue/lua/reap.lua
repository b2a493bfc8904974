-- Orders whose worker's lease ran out go back to the queue, or, after max_orphanings, to the dead.

local REAPED_AT_ONCE = 1000 -- so that Redis is never busy for long

-- The entry's order id, read from its bytes: the worker may have died before it could read them.
-- A hash that another delivery holds is never changed by it, so a misreading does no harm.
local function read_order_id(raw)
  local ok, body = pcall(cjson.decode, raw)
  local id = ok and type(body) == 'table' and body[policy.id_field]
  if type(id) == 'number' and id == math.floor(id) then return string.format('%.0f', id) end
  if type(id) == 'string' and id ~= '' and not string.find(id, '%c') then return id end
  return ''
end

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

local function forget(worker)
  call('ZREM', WORKERS, worker)
  call('HDEL', BOOKS, 'generation:' .. worker, 'breaker:' .. worker)
end

-- How many orphans of `worker` were put back, and how many of them are dead now. The lease stays,
-- expired, until the last of them is moved, so the next trip goes on.
local function reap(worker)
  local in_flight = policy.in_flight_prefix .. worker
  local deliveries = call('HKEYS', in_flight)
  local many, dead = math.min(#deliveries, REAPED_AT_ONCE), 0
  for i = 1, many do
    local entry = unpack_entry(call('HGET', in_flight, deliveries[i]))
    if put_back(entry, worker, deliveries[i]) then dead = dead + 1 end
    call('HDEL', in_flight, deliveries[i])
  end
  if many == #deliveries then
    call('ZREM', LEASES, worker)
    forget(worker)
  end
  return many, dead
end
