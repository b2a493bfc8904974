-- May an attempt start? The one gate that keeps two copies of an order apart.
-- Verdicts: 0 refused, 1 go, 2 duplicate, 3 busy (core/exchange.py, Verdict).

local REFUSED, GO, DUPLICATE, BUSY = 0, 1, 2, 3
local BUSY_WAIT = 500 -- ms until a copy asks again whether the other one has ended

local function held_elsewhere(delivery, holder, held)
  if holder == WORKER and held == tostring(delivery) then return false end
  return call('HEXISTS', policy.in_flight_prefix .. holder, held) == 1
end

local function start(key, delivery, order_id, attempt, queued_at)
  call('HSET', key, 'status', 'processing', 'attempt', attempt, 'worker', WORKER,
    'delivery', delivery, 'queued_at', string.format('%d', queued_at > 0 and queued_at or NOW),
    'started_at', now)
  emit(order_id, 'processing', attempt)
end

local function begin(delivery, order_id, attempt, queued_at)
  if call('HEXISTS', IN_FLIGHT, delivery) == 0 then return REFUSED end
  local key = policy.order_prefix .. order_id
  local was = call('HMGET', key, 'status', 'worker', 'delivery')
  local status, holder, held = was[1], was[2], was[3]
  if status == 'fulfilled' then
    call('HDEL', IN_FLIGHT, delivery)
    booked.duplicates = booked.duplicates + 1
    return DUPLICATE
  end
  if status == 'processing' and held_elsewhere(delivery, holder, held) then
    call('ZADD', RETRY, string.format('%d', NOW + BUSY_WAIT), call('HGET', IN_FLIGHT, delivery))
    call('HDEL', IN_FLIGHT, delivery)
    return BUSY
  end
  if status then
    -- Of an earlier attempt; a dead order's hash would expire in the middle of this one.
    call('HDEL', key, 'error', 'next_attempt_at', 'finished_at')
    call('PERSIST', key)
  end
  start(key, delivery, order_id, attempt, queued_at)
  return GO
end

local function begin_all(begins)
  local verdicts = {}
  for i, fields in ipairs(begins) do
    verdicts[i] = begin(unpack(fields))
  end
  return verdicts
end
