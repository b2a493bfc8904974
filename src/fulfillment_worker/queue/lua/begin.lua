-- May an attempt start? The one gate that keeps two copies of an order apart.
-- Verdicts: 1 go, 2 duplicate, 3 busy, 4 held, 5 cancelled, 6 limited (core/exchange.py, Verdict).

-- delivery, attempt: in digits. queued_at: ms in digits, '0' where not known.
local function start(key, delivery, order_id, attempt, queued_at)
  call('HSET', key, 'status', 'processing', 'attempt', attempt, 'worker', WORKER,
    'delivery', delivery, 'queued_at', queued_at == '0' and now or queued_at, 'started_at', now)
  emit(order_id, 'processing', attempt)
end

local GO, DUPLICATE, BUSY, HELD, CANCELLED, LIMITED = 1, 2, 3, 4, 5, 6
local BUSY_WAIT = 500 -- ms until a copy asks again whether the other one has ended

local function held_elsewhere(delivery, holder, held)
  if holder == WORKER and held == delivery then return false end
  return call('HEXISTS', policy.in_flight_prefix .. holder, held) == 1
end

-- Whether the status is another copy's, which has ended, is held or is at work.
local function is_of_another(key, delivery)
  local was = call('HMGET', key, 'status', 'worker', 'delivery')
  if was[1] == 'processing' then return held_elsewhere(whole(delivery), was[2], was[3]) end
  return FINAL[was[1]] or was[1] == 'held'
end

-- Does what is wished for an order that asks to start.
local function withdraw(key, order_id, delivery, attempt, wish)
  local packed = call('HGET', IN_FLIGHT, delivery)
  local became = packed and wishes.obey(wish, key, order_id, attempt, packed)
  call('HDEL', IN_FLIGHT, delivery)
  return became == 'cancelled' and CANCELLED or HELD
end

-- The verdict on an order that has a status or a wish: nil where nothing keeps it from starting.
local function held_back(key, order_id, delivery, attempt, status, wish)
  if FINAL[status] then
    call('HDEL', IN_FLIGHT, delivery)
    booked.duplicates = booked.duplicates + 1
    return DUPLICATE
  end
  if status == 'processing' then
    local holding = call('HMGET', key, 'worker', 'delivery')
    if held_elsewhere(delivery, holding[1], holding[2]) then
      call('ZADD', RETRY, due_at(NOW + BUSY_WAIT), call('HGET', IN_FLIGHT, delivery))
      call('HDEL', IN_FLIGHT, delivery)
      return BUSY
    end
  end
  if wish or status == 'held' then return withdraw(key, order_id, delivery, attempt, wish) end
  if limits.set and limits.refuse(delivery, order_id, attempt) then return LIMITED end
  -- Of an earlier attempt; a dead order's hash would expire in the middle of this one.
  call('HDEL', key, 'error', 'traceback', 'reason', 'next_attempt_at', 'finished_at', 'waits_for')
  call('PERSIST', key)
end

-- delivery, attempt: in digits. queued_at: ms in digits, '0' where not known.
local function begin(delivery, order_id, attempt, queued_at)
  local key = policy.order_prefix .. order_id
  local was = call('HMGET', key, 'status', 'wish')
  if was[1] or was[2] then
    local verdict = held_back(key, order_id, delivery, attempt, was[1], was[2])
    if verdict then return verdict end
  elseif limits.set and limits.refuse(delivery, order_id, attempt) then
    return LIMITED
  end
  start(key, delivery, order_id, attempt, queued_at)
  return GO
end

-- begins: delivery, order id, attempt, queued at; and so on.
local function begin_all(begins)
  local verdicts = {}
  for i = 1, #begins, 4 do
    local verdict = begin(begins[i], begins[i + 1], begins[i + 2], begins[i + 3])
    verdicts[#verdicts + 1] = verdict
    if limits.set and verdict ~= GO then limits.let_go(WORKER, begins[i]) end
  end
  return verdicts
end
