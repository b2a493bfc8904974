-- Orders that wait for a time by somebody's wish: the handler's (Postpone), or the order's own.
--
-- SCHEDULED holds the copies' numbers by the time at which each comes back, in ms of Redis's clock, and
-- SET_ASIDE their entries: so the time of the next one is told without an order's bytes. When it has
-- come, an exchange moves the order to RETRY, and it is as any other that is due. A step of Redis's
-- clock doesn't move these times: they were meant as such.

local MOST_BROUGHT_BACK = 500 -- in one exchange, so that Redis is never busy for long

-- Takes an entry out of flight until `due`. It expires before that where it may not get so old.
local function set_aside(entry, due)
  if policy.max_age > 0 then due = math.min(due, entry.first_seen + policy.max_age) end
  call('HSET', policy.set_aside, whole(entry.copy), pack_entry(entry))
  call('ZADD', policy.scheduled, whole(due), whole(entry.copy))
  return whole(due)
end

-- Moves those whose time has come; returns when the next one comes back, nil for none.
local function bring_back()
  local many, bytes_moved = 0, 0
  while true do
    local next_one = call('ZRANGE', policy.scheduled, 0, 0, 'WITHSCORES')
    local copy, due = next_one[1], tonumber(next_one[2])
    if not due or due > NOW or many >= MOST_BROUGHT_BACK or bytes_moved >= MOST_BYTES then return due end
    many = many + 1
    local packed = call('HGET', policy.set_aside, copy)
    if packed then
      call('ZADD', RETRY, due_at(due), packed)
      bytes_moved = bytes_moved + #packed
    end
    call('ZREM', policy.scheduled, copy)
    call('HDEL', policy.set_aside, copy)
  end
end

-- A postponed order comes back as it was: it has used no attempt.
function outcome.postponed(delivery, order_id, attempt, why, delay, at)
  local entry = entry_of(delivery)
  if not entry then return end
  local due = set_aside(entry, delay < 0 and math.max(at, NOW) or NOW + delay)
  local key = policy.order_prefix .. order_id
  keep_id(entry, order_id)
  call('HSET', key, 'status', 'postponed', 'next_attempt_at', due, 'reason', why)
  call('HINCRBY', key, 'postponed', 1)
  emit(order_id, 'postponed', attempt, why)
  call('HDEL', IN_FLIGHT, delivery)
end

-- An order that has not begun, as far as its worker knows, and may not yet.
function outcome.scheduled(delivery, order_id, attempt, at)
  local entry = entry_of(delivery)
  if not entry then return end
  local due = set_aside(entry, math.max(at, NOW))
  local key = policy.order_prefix .. order_id
  if not is_of_another(key, delivery) then
    call('HSET', key, 'status', 'scheduled', 'attempt', attempt, 'queued_at', whole(entry.first_seen),
      'next_attempt_at', due)
    call('HDEL', key, 'error', 'traceback', 'finished_at')
    call('PERSIST', key)
    keep_id(entry, order_id)
    emit(order_id, 'scheduled', attempt)
  end
  call('HDEL', IN_FLIGHT, delivery)
end
