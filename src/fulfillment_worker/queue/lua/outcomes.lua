-- What an outcome does to an order. That the deliveries are in flight, and this worker's, is what
-- the number of the exchange vouches for. A delivery leaves its place last, when the order is where it
-- goes: should the function end in between, it is there twice rather than lost.

local MOST_ARGUMENTS = 1000 -- of one command; Lua's stack holds some more

-- The ids of orders that are about to be fulfilled are kept no longer.
local function forget_ids(deliveries)
  for _, delivery in ipairs(deliveries) do
    local packed = call('HGET', IN_FLIGHT, delivery)
    if packed then call('HDEL', IDS, string.match(packed, '^%d+')) end
  end
end

-- fulfilled: delivery, order id, attempt; and so on, all in digits or text.
local function fulfil_all(fulfilled)
  local gone = {}
  for i = 1, #fulfilled, 3 do
    local order_id = fulfilled[i + 1]
    local key = policy.order_prefix .. order_id
    call('HSET', key, 'status', 'fulfilled', 'finished_at', now)
    call('PEXPIRE', key, status_ttl)
    emit(order_id, 'fulfilled', fulfilled[i + 2])
    gone[#gone + 1] = fulfilled[i]
    if #gone == MOST_ARGUMENTS or i + 3 > #fulfilled then
      booked.fulfilled = booked.fulfilled + call('HDEL', IN_FLIGHT, unpack(gone))
      gone = {}
    end
  end
end

-- The others, one function each; the arguments are the fields of core/outcome.py, in their order.
local outcome = {}

-- nil where somebody took it out by hand: then there is nothing left to move.
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

-- due: as RETRY has it. at: as people are told.
local function wait_until(due, at, entry, order_id, attempt)
  call('ZADD', RETRY, due, pack_entry(entry))
  if order_id == '' then return end
  keep_id(entry, order_id)
  call('HSET', policy.order_prefix .. order_id, 'status', 'retrying', 'next_attempt_at', at)
  emit(order_id, 'retrying', attempt)
end

function outcome.retried(delivery, order_id, attempt, err, delay, traceback)
  local entry = entry_of(delivery)
  if not entry then return end
  local key = policy.order_prefix .. order_id
  remember_failure(key, attempt, err)
  call('HSET', key, 'error', err, 'traceback', traceback or '')
  entry.failures = attempt
  wait_until(due_at(NOW + delay), whole(NOW + delay), entry, order_id, attempt)
  call('HDEL', IN_FLIGHT, delivery)
end

-- One that has a note: what its handler returned.
function outcome.fulfilled(delivery, order_id, attempt, note)
  local key = policy.order_prefix .. order_id
  call('HSET', key, 'status', 'fulfilled', 'finished_at', now, 'note', note)
  call('PEXPIRE', key, status_ttl)
  emit(order_id, 'fulfilled', attempt, note, 'note')
  booked.fulfilled = booked.fulfilled + call('HDEL', IN_FLIGHT, delivery)
end

-- A requeued order is due at once, and before those that came after it. order_id: '' where it has not
-- begun, as far as its worker knows.
function outcome.requeued(delivery, order_id, attempt)
  local entry = entry_of(delivery)
  if not entry then return end
  if order_id == '' then order_id = begun_unheard(entry.raw, whole(delivery)) end
  wait_until(due_since(entry.first_seen), whole(entry.first_seen), entry, order_id, attempt)
  call('HDEL', IN_FLIGHT, delivery)
end

function outcome.dead(delivery, order_id, attempt, err, reason, traceback)
  local entry = entry_of(delivery)
  if not entry then return end
  entry.failures = attempt
  -- A copy that has not begun, and can't be read any more, say.
  local others = order_id ~= '' and is_of_another(policy.order_prefix .. order_id, delivery)
  bury(entry, order_id, reason, err, WORKER, others)
  if order_id ~= '' and not others then
    -- What expired has not failed.
    if reason ~= 'expired' then remember_failure(policy.order_prefix .. order_id, attempt, err) end
    mark_dead(order_id, err, traceback)
  end
  call('HDEL', IN_FLIGHT, delivery)
end

local function apply_outcomes(outcomes)
  for _, fields in ipairs(outcomes) do
    if not (wished and wishes.overtake(unpack(fields))) then outcome[fields[1]](unpack(fields, 2)) end
  end
end
