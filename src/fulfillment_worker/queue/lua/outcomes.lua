-- What an outcome does to an order: one function each. It does nothing where the delivery is not
-- in flight (false): it is not this worker's. The delivery leaves its place last, when the order is
-- where it goes: should the script end in between, it is there twice rather than lost.
-- The arguments are the fields of core/outcome.py, in their order.

local outcome = {}

local function entry_of(delivery)
  local packed = call('HGET', IN_FLIGHT, delivery)
  return packed and unpack_entry(packed)
end

local function remember_failure(key, attempt, err)
  local history = call('HGET', key, 'history') or ''
  if #history < 8192 then
    local line = cjson.encode({attempt = attempt, at = NOW, error = err})
    call('HSET', key, 'history', history .. line .. '\n')
  end
end

local function wait_until(due, entry, order_id, attempt)
  call('ZADD', RETRY, due, pack_entry(entry))
  if order_id == '' then return end
  call('HSET', policy.order_prefix .. order_id, 'status', 'retrying', 'next_attempt_at', due)
  emit(order_id, 'retrying', attempt)
end

function outcome.fulfilled(delivery, order_id, attempt)
  if call('HEXISTS', IN_FLIGHT, delivery) == 0 then return false end
  local key = policy.order_prefix .. order_id
  call('HSET', key, 'status', 'fulfilled', 'finished_at', now)
  call('PEXPIRE', key, policy.status_ttl)
  emit(order_id, 'fulfilled', attempt)
  call('HDEL', IN_FLIGHT, delivery)
  booked.fulfilled = booked.fulfilled + 1
  return true
end

function outcome.retried(delivery, order_id, attempt, err, delay)
  local entry = entry_of(delivery)
  if not entry then return false end
  local key = policy.order_prefix .. order_id
  remember_failure(key, attempt, err)
  call('HSET', key, 'error', err)
  entry.failures = attempt
  wait_until(string.format('%d', NOW + delay), entry, order_id, attempt)
  call('HDEL', IN_FLIGHT, delivery)
  return true
end

-- A requeued order is due at once, and before those that came after it.
function outcome.requeued(delivery, order_id, attempt)
  local entry = entry_of(delivery)
  if not entry then return false end
  wait_until(string.format('%d', entry.first_seen), entry, order_id, attempt)
  call('HDEL', IN_FLIGHT, delivery)
  return true
end

function outcome.dead(delivery, order_id, attempt, err, reason)
  local entry = entry_of(delivery)
  if not entry then return false end
  entry.failures = attempt
  bury(entry, order_id, reason, err, WORKER)
  if order_id ~= '' then
    remember_failure(policy.order_prefix .. order_id, attempt, err)
    mark_dead(order_id, err)
  end
  call('HDEL', IN_FLIGHT, delivery)
  return true
end

-- The deliveries that were not this worker's any more.
local function apply_outcomes(outcomes)
  local refused = {}
  for _, fields in ipairs(outcomes) do
    if not outcome[fields[1]](unpack(fields, 2)) then
      refused[#refused + 1] = fields[2]
    end
  end
  return refused
end
