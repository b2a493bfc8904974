-- Orders whose worker's lease ran out go back to the queue, or, after max_orphanings, to the dead.

local PARTS = 16 -- into which suspects are divided when their worker is gone

-- At most this much is moved in one exchange, so that Redis is never busy for long.
local MOST_ORPHANS = 1000
local MOST_ORPHAN_BYTES = 262144

-- What the order's status says: 'begun' by this very delivery or by one that is gone, 'others' while
-- another copy is at work or held, 'fulfilled', or anything else.
local function standing(order_id, worker, delivery)
  if order_id == '' then return '' end
  local was = call('HMGET', policy.order_prefix .. order_id, 'status', 'worker', 'delivery')
  if was[1] == 'held' then return 'others' end
  if was[1] ~= 'processing' then return was[1] end
  if was[2] == worker and was[3] == delivery then return 'begun' end
  local is_held = was[2] and was[3] and call('HEXISTS', policy.in_flight_prefix .. was[2], was[3]) == 1
  return is_held and 'others' or 'begun'
end

-- The id under which the order is known: as it was kept, else the one of those that its bytes may
-- have under which this very delivery has begun, else as the bytes are read here.
local function id_of(entry, worker, delivery)
  local kept = call('HGET', IDS, whole(entry.copy))
  if kept then return kept end
  local possible = possible_ids(entry.raw)
  for _, order_id in ipairs(possible) do
    local begun = call('HMGET', policy.order_prefix .. order_id, 'worker', 'delivery')
    if begun[1] == worker and begun[2] == delivery then
      keep_id(entry, order_id)
      return order_id
    end
  end
  return possible[1] or ''
end

-- What becomes of the orphan: 'dead', 'suspect', or anything else. alone: whether no other order may
-- be the one that ended the worker; only then does max_orphanings apply.
local function put_back(entry, worker, delivery, alone)
  local order_id = id_of(entry, worker, delivery)
  local stands = standing(order_id, worker, delivery)
  if FINAL[stands] then
    -- A copy that did not come as far as to ask. It is no suspect, and never a dead letter.
    call('HDEL', IDS, whole(entry.copy))
    booked.duplicates = booked.duplicates + 1
    return 'duplicate'
  end
  entry.orphanings = entry.orphanings + 1
  if alone and entry.orphanings >= policy.max_orphanings then
    local err = 'its worker died with it each time'
    bury(entry, order_id, 'orphaned', err, worker, stands == 'others')
    if order_id ~= '' and stands ~= 'others' then mark_dead(order_id, err) end
    return 'dead'
  end
  local suspect = on_last_chance(entry)
  if suspect then
    call('LPUSH', SUSPECTS, pack_entry(entry))
  else
    call('ZADD', RETRY, due_since(entry.first_seen), pack_entry(entry))
  end
  if stands == 'begun' then
    call('HSET', policy.order_prefix .. order_id, 'status', 'retrying', 'next_attempt_at', now)
    emit(order_id, 'retrying', call('HGET', policy.order_prefix .. order_id, 'attempt'))
  end
  return suspect and 'suspect' or 'waits'
end

-- A worker that holds orders, and whose lease Redis has lost, gets a new one. If the worker is gone,
-- its orders are put back at its end.
local function lease_again(worker)
  if call('HLEN', policy.in_flight_prefix .. worker) == 0 then return false end
  return call('ZADD', LEASES, 'NX', whole(NOW + lease_of(worker)), worker) == 1
end

-- Looks for such workers among all that anything tells of, and adds them to these.
local function find_lost_leases(leases)
  local leased = {}
  for i = 1, #leases, 2 do leased[leases[i]] = true end
  local function look_at(worker)
    if worker and not leased[worker] and lease_again(worker) then
      leases[#leases + 1], leases[#leases + 2] = worker, whole(NOW + lease_of(worker))
    end
  end
  for _, worker in ipairs(call('ZRANGE', WORKERS, 0, -1)) do look_at(worker) end
  for _, field in ipairs(call('HKEYS', BOOKS)) do look_at(string.match(field, '^trips:(.*)$')) end
  call('HSET', BOOKS, 'looked', now)
end

-- Worker names are never used again, so nothing of a worker is needed that is long silent.
local function forget(worker)
  if call('HLEN', policy.in_flight_prefix .. worker) > 0 then return lease_again(worker) end
  call('ZREM', WORKERS, worker)
  call('HDEL', BOOKS, 'trips:' .. worker, 'breaker:' .. worker, 'group:' .. worker,
    'lease:' .. worker, 'wishes:' .. worker)
end

-- Puts back those that ran in one worker, `together` of them. Returns how many are dead now.
local function put_back_all(orphans, worker, together)
  local dead, suspects = 0, 0
  for _, orphan in ipairs(orphans) do
    local became = put_back(orphan.entry, worker, orphan.delivery, together <= 1)
    if became == 'dead' then dead = dead + 1 end
    if became == 'suspect' then suspects = suspects + 1 end
    call('HDEL', policy.in_flight_prefix .. worker, orphan.delivery)
    if limits.set then limits.let_go(worker, orphan.delivery) end
  end
  if suspects > 0 then add_groups(suspects, math.max(1, math.floor(together / PARTS))) end
  return dead
end

-- How many orphans of `worker` were put back, and how many of them are dead now. The lease stays,
-- expired, until the last of them is moved, so the next exchange goes on.
local function reap(worker)
  local deliveries = call('HKEYS', policy.in_flight_prefix .. worker)
  local seen = call('HMGET', BOOKS, 'group:' .. worker, 'orphans:' .. worker)
  local group, together = tonumber(seen[1] or 1), tonumber(seen[2] or #deliveries)
  local moved, bytes = 0, 0
  local suspects, others = {}, {}
  while moved < #deliveries and moved < MOST_ORPHANS and bytes < MOST_ORPHAN_BYTES do
    moved = moved + 1
    local packed = call('HGET', policy.in_flight_prefix .. worker, deliveries[moved])
    local orphan = {delivery = deliveries[moved], entry = unpack_entry(packed)}
    local kind = on_last_chance(orphan.entry) and suspects or others
    kind[#kind + 1] = orphan
    bytes = bytes + #packed
  end
  local dead = put_back_all(suspects, worker, group) + put_back_all(others, worker, together)
  if moved == #deliveries then
    -- Kept until it is forgotten: should it not be dead, it is told so, whatever it believes.
    call('HSET', BOOKS, 'trips:' .. worker, REAPED)
    call('HDEL', BOOKS, 'orphans:' .. worker, 'wishes:' .. worker)
    call('ZREM', LEASES, worker)
  else
    call('HSET', BOOKS, 'orphans:' .. worker, whole(together))
  end
  return moved, dead
end
